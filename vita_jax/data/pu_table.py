"""Tables for positive-unlabelled learning: a CSV and a schema whose `labelled` marks labelled positives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vita_jax.data import tabular
from vita_jax.data.schema import Schema, check_roles, load_schema
from vita_jax.data.tables import Table, read_table


class PUTable(NamedTuple):
  """Rows of a table.

  Attributes:
    x: float32 [n, features].
    labelled: bool [n], True for a labelled positive.
    positive: int8 [n], the true class: 1, 0, or -1 where the schema names no `target`.
    encoding: what makes features of other rows.
  """

  x: np.ndarray
  labelled: np.ndarray
  positive: np.ndarray
  encoding: tabular.Encoding


def load_pu_table(path: str, schema_path: str) -> PUTable:
  """Loads a CSV file whose columns a schema (JSON) explains.

  Raises:
    FileNotFoundError: no such file.
    ValueError: a schema or a table that cannot be used, e.g. without labelled or without unlabelled rows,
      with the label among the inputs, or with a column that has no role.
  """
  schema = load_schema(schema_path)
  if schema.labelled is None:
    raise ValueError(
      f'{schema_path}: name the column that marks labelled positives, e.g. "labelled": "label == 1"'
    )
  table = read_table(path)
  check_roles(schema, table)
  check_inputs(schema, schema_path)
  encoding = tabular.fit(schema, table)
  labelled = _two_classes(encoding, table, "labelled")
  check_labelled(labelled, path)
  known = schema.target is not None
  positive = _two_classes(encoding, table, "target") if known else np.full(table.n_rows, -1)
  return PUTable(tabular.encode(encoding, table), labelled, positive.astype(np.int8), encoding)


def load_test_rows(encoding: tabular.Encoding, path: str) -> dict[str, np.ndarray]:
  """Loads rows with true classes: `x` float32 [n, features] and `positive` int8 [n].

  Raises:
    FileNotFoundError: no such file.
    ValueError: rows that cannot be used, or a schema without a `target`.
  """
  if encoding.schema.target is None:
    raise ValueError(f'{path}: a test file needs a "target" in the schema, the column of the true class')
  table = read_table(path)
  positive = _two_classes(encoding, table, "target").astype(np.int8)
  return {"x": tabular.encode(encoding, table), "positive": positive}


def check_inputs(schema: Schema, source: str) -> None:
  """Checks that no input of a schema is the label or the target itself.

  Raises:
    ValueError: one is; a network would read the answer from it, and the estimated prior be wrong.
  """
  for label in (schema.labelled, schema.target):
    if label is not None and label.column in schema.inputs:
      raise ValueError(
        f"{source}: column '{label.column}' is an input and makes '{label.name}': take it out of the inputs"
      )


def check_labelled(labelled: np.ndarray, path: str) -> None:
  """Checks PU labels bool [n] of a file.

  Raises:
    ValueError: no labelled or no unlabelled rows.
  """
  n, total = int(labelled.sum()), len(labelled)
  if n == 0 or n == total:
    what = "labelled positives" if n == 0 else "unlabelled rows"
    raise ValueError(f"{path} has no {what}: of {total} rows {n} are labelled; check the schema")


def _two_classes(encoding: tabular.Encoding, table: Table, name: str) -> np.ndarray:
  """Returns bool [n]: the second of two classes."""
  classes = encoding.classes[name]
  if len(classes) != 2:
    raise ValueError(
      f"{table.source}: '{name}' has the classes {', '.join(classes) or 'none'}, wanted two; write e.g."
      f' "{name}": "column == value" in the schema'
    )
  return tabular.label_values(encoding, table, name) == 1
