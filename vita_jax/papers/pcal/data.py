"""From a table and a schema to the arrays that training reads, and what is wrong with a task.

Everything here is free of statistics: scaler, priors and quantiles come from training rows only and are
computed where the split is (split.py).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vita_jax.audit.labels import check_label
from vita_jax.base.choose import choose, hint
from vita_jax.data import tabular
from vita_jax.data.credit import SCHEMAS
from vita_jax.data.schema import Label, Schema, check_columns, check_roles, load_schema, parse_schema, without
from vita_jax.data.sources import load
from vita_jax.data.splits import combinations
from vita_jax.data.tables import Table, as_table, read_table
from vita_jax.papers.pcal.recipe import VARIANTS

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
    arrays: `numbers` float32 [n, a] (after log, NaN: missing), `raw` float32 [n, a] (before it), `codes`
      int32 [n, b], `target` int32 [n], `private` float32 [n, K] (class numbers, or the standardised
      values of a continuous attribute).
    labels: name -> the private attributes as an audit reads them: class numbers int32 [n], or float64 [n].
    groups: int32 [n], equal for rows of one group; or that are equal in all columns but the dropped ones.
    strata: int32 [n], combinations of target and private classes.
  """

  encoding: tabular.Encoding
  attributes: tuple[Attribute, ...]
  arrays: dict[str, np.ndarray]
  labels: dict[str, np.ndarray]
  groups: np.ndarray
  strata: np.ndarray

  @property
  def n_rows(self) -> int:
    """The number of rows."""
    return len(self.groups)

  @property
  def n_classes(self) -> tuple[int, ...]:
    """The number of classes of each attribute; 0 for a continuous one."""
    return tuple(len(attribute.classes) for attribute in self.attributes)


def read(config: Any) -> tuple[Table, Schema]:
  """Reads the table and the schema that a config names: a CSV with a schema file, or a data set by name.

  Raises:
    ValueError, FileNotFoundError: none is named, or see `read_table` and `load_schema`.
  """
  data = config.data
  if not data.path:
    if data.name not in SCHEMAS:
      raise ValueError("no table is named: give --config.data.path=my.csv --config.data.schema=schema.json")
    return as_table(load(data.name), source=data.name), parse_schema(SCHEMAS[data.name])
  if not data.schema:
    raise ValueError(f"a table needs a schema: give --config.data.schema=schema.json beside {data.path}")
  return read_table(data.path), load_schema(data.schema)


def make_task(
  table: Table, schema: Schema, *, attributes: tuple[str, ...], variant: str, group: str = ""
) -> Task:
  """Checks a task and turns it into arrays.

  Args:
    table: all rows.
    schema: what its columns are for; it needs a target of two classes.
    attributes: names of the private attributes to hide; () takes all of the schema.
    variant: which private columns are inputs: "include" leaves the schema's inputs as they are, "exclude"
      takes out the columns of `attributes`, "exclude_all" those of all private attributes of the schema.
    group: a column, e.g. of persons: rows of one value stay on one side of the split. "": equal rows do.

  Raises:
    ValueError: an unknown attribute or variant, a target that has not two classes, an attribute with one
      class, with a class of fewer than 10 rows or equal to the target, or see `tabular`.
  """
  choose("config.variant", variant, VARIANTS)
  check_columns(schema, table, labels=True)  # first: it names the nearest column that is there
  check_roles(schema, table)
  chosen = _chosen(schema, attributes)
  used = _inputs(schema, chosen, variant)._replace(private=chosen, labelled=None)
  encoding = tabular.fit(used, table)
  raw = tabular.raw_inputs(encoding, table)
  names = ("target", *(label.name for label in chosen))
  labels = {name: tabular.label_values(encoding, table, name) for name in names}
  if len(encoding.classes["target"]) != 2:
    raise ValueError(
      f"the target has {len(encoding.classes['target'])} classes, two are needed: write 'COLUMN == VALUE'"
    )
  check_label("target", encoding.classes["target"], labels["target"])
  for label in chosen:
    check_label(label.name, encoding.classes[label.name], labels[label.name], target=labels["target"])
  _warn_of_leaks(encoding, tabular.features(encoding, **raw), labels, variant)
  discrete = [values for name, values in labels.items() if encoding.classes[name]]
  arrays = {
    "numbers": tabular.logged(encoding, raw["numbers"]),
    "raw": raw["numbers"],
    "codes": raw["codes"],
    "target": labels["target"],
    "private": np.stack([_as_float32(labels[label.name]) for label in chosen], axis=1),
  }
  return Task(
    encoding=encoding,
    attributes=tuple(Attribute(label.name, encoding.classes[label.name]) for label in chosen),
    arrays=arrays,
    labels={label.name: labels[label.name] for label in chosen},
    groups=_groups(table, schema, group),
    strata=combinations(discrete),
  )


def _as_float32(values: np.ndarray) -> np.ndarray:
  """Class numbers as they are; values are standardised before they are rounded."""
  if values.dtype.kind == "f":
    values = (values - values.mean()) / values.std()
  return values.astype(np.float32)


def _groups(table: Table, schema: Schema, group: str) -> np.ndarray:
  """Numbers what stays on one side of a split: equal values of a column, or equal rows."""
  if not group:
    return combinations([x for name, x in table.columns.items() if name not in schema.drop])
  if group not in table.columns:
    raise ValueError(
      f"config.data.group is '{group}': {table.source} has no such column{hint(group, table.columns)}"
    )
  return combinations([table.columns[group]])


def _chosen(schema: Schema, attributes: tuple[str, ...]) -> tuple[Label, ...]:
  """Returns the private attributes of these names, or all of them."""
  known = {label.name: label for label in schema.private}
  for name in attributes:
    if name not in known:
      raise ValueError(f"the schema has no private attribute '{name}'{hint(name, known)}: {', '.join(known)}")
  if not known:
    raise ValueError("the schema names no private attribute: name at least one column under 'private'")
  return tuple(known[name] for name in attributes or known)


def _inputs(schema: Schema, chosen: tuple[Label, ...], variant: str) -> Schema:
  """Returns the schema with the inputs of a variant."""
  if schema.target is None:
    raise ValueError("the schema names no target: give 'target': 'COLUMN == VALUE'")
  if schema.target.column in schema.inputs:
    raise ValueError(f"the target's column '{schema.target.column}' is among the inputs: take it out")
  if variant == "include":
    if absent := [label.column for label in chosen if label.column not in schema.inputs]:
      raise ValueError(
        f"variant 'include' needs '{absent[0]}' among the schema's inputs: add it, or take 'exclude'"
      )
    return schema
  used = without(schema, {label.column for label in (chosen if variant == "exclude" else schema.private)})
  if not used.inputs:
    raise ValueError("no inputs are left without the private columns: name more columns in the schema")
  return used


def _warn_of_leaks(
  encoding: tabular.Encoding, x: np.ndarray, labels: Mapping[str, np.ndarray], variant: str
) -> None:
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
