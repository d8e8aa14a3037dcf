"""From a table and a schema to the arrays that training reads, and what is wrong with a task.

Everything here is free of statistics: scaler, priors and quantiles come from training rows only and are
computed where the split is (split.py).
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vita_jax.base.choose import choose, hint
from vita_jax.data import tabular
from vita_jax.data.schema import Schema, check_columns, check_roles, parse_schema, without
from vita_jax.data.sources import load
from vita_jax.data.tables import Table, as_table, read_table
from vita_jax.papers.pcal.credit import SCHEMAS

VARIANTS = ("include", "exclude", "exclude_all")
FEWEST_ROWS = 10  # of a class
LEAKED = 0.999  # absolute correlation


class Attribute(NamedTuple):
  """A private attribute: `classes` are its values, () for a continuous one."""

  name: str
  classes: tuple[str, ...]


class Task(NamedTuple):
  """A table ready for training.

  Attributes:
    encoding: schema of the inputs, and categories; its statistics are of all rows and are not used.
    attributes: the private attributes to hide.
    arrays: `numbers` float32 [n, a] (after log, NaN: missing), `codes` int32 [n, b], `target` int32 [n],
      `private` float32 [n, K] (class numbers, or values of a continuous attribute).
    numbers: float32 [n, a], before the logarithm.
    groups: int32 [n], equal for rows that are equal in all columns but the dropped ones.
    strata: int32 [n], combinations of target and private classes.
  """

  encoding: tabular.Encoding
  attributes: tuple[Attribute, ...]
  arrays: dict[str, np.ndarray]
  numbers: np.ndarray
  groups: np.ndarray
  strata: np.ndarray

  @property
  def n_rows(self) -> int:
    return len(self.groups)


def read(config: Any) -> tuple[Table, Schema]:
  """The table and the schema that a config names: a CSV with a schema file, or a data set by name.

  Raises:
    ValueError, FileNotFoundError: none is named, or see `read_table` and `parse_schema`.
  """
  data = config.data
  if not data.path:
    if data.name not in SCHEMAS:
      raise ValueError("no table is named: give --config.data.path=my.csv --config.data.schema=schema.json")
    return as_table(load(data.name), source=data.name), parse_schema(SCHEMAS[data.name])
  if not data.schema:
    raise ValueError(f"a table needs a schema: give --config.data.schema=schema.json beside {data.path}")
  return read_table(data.path), read_schema(data.schema)


def read_schema(path: str) -> Schema:
  """A schema from a JSON file.

  Raises:
    FileNotFoundError: no such file. ValueError: no JSON object, or see `parse_schema`.
  """
  if not Path(path).is_file():
    raise FileNotFoundError(f"no schema file {path}; check the path")
  try:
    content = json.loads(Path(path).read_text())
  except ValueError as error:
    raise ValueError(f"{path} is not JSON ({error})") from error
  if not isinstance(content, dict):
    raise ValueError(f"{path} has to hold a JSON object with the keys of a schema")
  return parse_schema(content)


def make_task(table: Table, schema: Schema, *, attributes: tuple[str, ...], variant: str) -> Task:
  """Checks a task and turns it into arrays.

  Args:
    table: all rows. schema: what its columns are for; it needs a target of two classes.
    attributes: names of the private attributes to hide; () takes all of the schema.
    variant: which private columns are inputs: "include" leaves the schema's inputs as they are, "exclude"
      takes out the columns of `attributes`, "exclude_all" those of all private attributes of the schema.

  Raises:
    ValueError: an unknown attribute or variant, a target that has not two classes, an attribute with one
      class, with a class of fewer than 10 rows or equal to the target, or see `tabular`.
  """
  choose("config.variant", variant, VARIANTS)
  check_columns(schema, table, labels=True)  # first: it names the nearest column that is there
  check_roles(schema, table)
  known = {label.name: label for label in schema.private}
  for name in attributes:
    if name not in known:
      raise ValueError(f"the schema has no private attribute '{name}'{hint(name, known)}: {', '.join(known)}")
  chosen = [known[name] for name in attributes or known]
  if not chosen:
    raise ValueError("the schema names no private attribute: name at least one column under 'private'")
  if schema.target is None:
    raise ValueError("the schema names no target: give 'target': 'COLUMN == VALUE'")
  hidden = {label.column for label in (chosen if variant == "exclude" else schema.private)}
  if variant == "include" and (absent := [x.column for x in chosen if x.column not in schema.inputs]):
    raise ValueError(
      f"variant 'include' needs '{absent[0]}' among the schema's inputs: add it, or take 'exclude'"
    )
  if schema.target.column in schema.inputs:
    raise ValueError(f"the target's column '{schema.target.column}' is among the inputs: take it out")
  used = schema if variant == "include" else without(schema, hidden)
  if not used.inputs:
    raise ValueError("no inputs are left without the private columns: name more columns in the schema")
  used = used._replace(private=tuple(chosen), labelled=None)
  encoding = tabular.fit(used, table)
  raw = tabular.raw_inputs(encoding, table)
  target = tabular.label_values(encoding, table, "target")
  if len(encoding.classes["target"]) != 2:
    raise ValueError(
      f"the target has {len(encoding.classes['target'])} classes, two are needed: write 'COLUMN == VALUE'"
    )
  private = [tabular.label_values(encoding, table, label.name) for label in chosen]
  found = tuple(Attribute(label.name, encoding.classes[label.name]) for label in chosen)
  check_label("target", encoding.classes["target"], target)
  for attribute, values in zip(found, private, strict=True):
    check_label(attribute.name, attribute.classes, values, target=target)
  named = {"target": target, **{x.name: v for x, v in zip(found, private, strict=True)}}
  _warn_of_leaks(encoding, tabular.features(encoding, **raw), named, variant)
  discrete = [v for x, v in zip(found, private, strict=True) if x.classes]
  arrays = {
    "numbers": tabular.logged(encoding, raw["numbers"]),
    "codes": raw["codes"],
    "target": target,
    "private": np.stack(private, axis=1).astype(np.float32),
  }
  strata = combinations([target, *discrete])
  groups = combinations([x for name, x in table.columns.items() if name not in schema.drop])
  return Task(encoding, found, arrays, raw["numbers"], groups, strata)


def combinations(columns: list[np.ndarray]) -> np.ndarray:
  """int32 [n]: a number for each distinct combination of values of the columns, each [n]."""
  numbers = np.zeros(len(columns[0]), np.int64)
  for column in columns:
    _, values = np.unique(column, return_inverse=True)
    _, numbers = np.unique(numbers * (values.max() + 1) + values, return_inverse=True)
  return numbers.astype(np.int32)


def check_label(name: str, classes: tuple[str, ...], values: np.ndarray, *, target: Any = None) -> None:
  """Refuses labels that nothing can be learned of: class numbers int [n], or float [n] where `classes` is ().

  Raises:
    ValueError: one value or class, a class of fewer than 10 rows, a label that equals `target` int [n].
  """
  if not classes:
    if np.std(values) == 0:
      raise ValueError(f"'{name}' has one value only: there is nothing to find out")
    return
  counts = np.bincount(values, minlength=len(classes))
  if (counts > 0).sum() < 2:
    only = classes[int(np.argmax(counts))]
    raise ValueError(f"'{name}' has one class only ('{only}'): there is nothing to find out")
  if counts.min() < FEWEST_ROWS:
    rare = int(np.argmin(counts))
    raise ValueError(
      f"'{name}' has {counts[rare]} rows of class '{classes[rare]}': {FEWEST_ROWS} are the least; merge it"
    )
  if target is not None and len(classes) == 2 and len({*(values == target)}) == 1:
    raise ValueError(f"'{name}' equals the target: what predicts the one reveals the other")


def _warn_of_leaks(encoding: tabular.Encoding, x: np.ndarray, labels: dict, variant: str) -> None:
  """Warns of inputs that are a label, up to scale: the target, and private ones if left out."""
  centred = x - x.mean(0)
  scale = np.sqrt((centred.astype(np.float64) ** 2).sum(0))
  for name, values in labels.items():
    if name != "target" and variant == "include":
      continue
    y = values - values.mean()
    norm = scale * np.sqrt((y.astype(np.float64) ** 2).sum())
    correlation = np.abs(centred.T @ y) / np.where(norm > 0, norm, np.inf)
    if correlation.max() > LEAKED:
      column = encoding.names[int(np.argmax(correlation))]
      warnings.warn(f"the input '{column}' is '{name}' (correlation > {LEAKED}): drop it", stacklevel=3)
