"""Rows of a table as float32 features and labels, by a schema and what training rows teach.

`fit` learns scaler, categories and classes from training rows only; `encode` turns any rows into features
with them. `schema.py` says what columns are for, `tables.py` reads files (large ones in chunks):

    schema = parse_schema({"numeric": ["age"], "categorical": ["job"], "target": "risk == 2", "drop": ["id"]})
    table = read_table("credit.csv")
    encoding = fit(schema, table, training_rows)
    x, y = encode(encoding, table), label_values(encoding, table, "target")
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from vita_jax.base.choose import hint
from vita_jax.data.schema import Label, Schema, check_columns, parse_schema, schema_content
from vita_jax.data.tables import Table, canonical, number_of, text_of

MOST_CLASSES = 100
MOST_UNSEEN = 0.05  # share of rows with categories that no training row had
FEW_ROWS = 20  # below them a share says nothing
ROUNDED = 0.01  # of a column's standard deviation that float32 may take away
FEW_VALUES = 100  # of a column: each must stay distinct in float32
NOISE = 1e-13  # relative; values that are closer differ by how they were computed
OPERATORS = {">": np.greater, ">=": np.greater_equal, "<": np.less, "<=": np.less_equal}


class Encoding(NamedTuple):
  """A schema with what was learned from training rows; plain data (see `to_json`).

  Attributes:
    categories: categorical column -> its categories, sorted. classes: label name -> its classes, sorted
      ("0" and "1" of a test; none for a number).
    median, mean, std: float32 [numbers], after the logarithm; std 1 for a constant column.
  """

  schema: Schema
  categories: Mapping[str, tuple[str, ...]]
  classes: Mapping[str, tuple[str, ...]]
  median: np.ndarray
  mean: np.ndarray
  std: np.ndarray

  @property
  def names(self) -> tuple[str, ...]:
    """Names of the features, `column` or `column=category`."""
    hot = (f"{c}={v}" for c, values in self.categories.items() for v in _shown(self.schema, values))
    return (*self.schema.numbers, *hot)


def fit(schema: Schema, table: Table, rows: np.ndarray | None = None) -> Encoding:
  """Learns medians, means, standard deviations, categories and classes.

  Args:
    schema: what the columns are for.
    table: the rows of all splits.
    rows: int [n], the training rows, which alone are looked at; None: all.

  Raises:
    ValueError: absent columns, no rows, missing values under the rule "error", text where a number should
      be, a label with more than 100 classes.
  """
  check_columns(schema, table, labels=True)
  rows = np.arange(table.n_rows) if rows is None else np.asarray(rows)
  if not len(rows):
    raise ValueError(f"{table.source} has no training rows")
  numbers = _numbers(schema, table)[rows]
  if empty := [c for c, x in zip(schema.numbers, numbers.T, strict=True) if np.isnan(x).all()]:
    raise ValueError(f"{table.source}: column '{empty[0]}' has no value in any training row; drop it")
  single = _as_float32(schema, table, numbers, rows)
  rounded = _signed_log(single.astype(np.float64), _is_log(schema), np)
  numbers = _signed_log(numbers, _is_log(schema), np)
  _check_rounding(schema, table, numbers, rounded)
  median = np.nanmedian(numbers, axis=0) if numbers.size else np.zeros(0)
  scaled = np.where(np.isnan(numbers), median, numbers)
  std = scaled.std(axis=0)
  constant = std <= 1e-12 * np.abs(scaled).max(axis=0, initial=0.0)
  texts = {c: _texts(schema, table, c)[rows] for c in schema.categorical}
  classes = {label.name: _classes(label, table, rows) for label in schema.labels}
  return Encoding(
    schema=schema,
    categories={c: tuple(np.unique(x).tolist()) for c, x in texts.items()},
    classes=classes,
    median=median.astype(np.float32),
    mean=scaled.mean(axis=0).astype(np.float32),
    std=np.where(constant, 1.0, std).astype(np.float32),
  )


def raw_inputs(encoding: Encoding, table: Table) -> dict[str, np.ndarray]:
  """Reads the inputs as numbers: `numbers` float32 [n, numbers] (NaN: missing), `codes` int32 [n, columns].

  A code is the position of the category among the known ones, -1 for an unseen one.

  Raises:
    ValueError: absent columns; missing values or unseen categories where the schema does not allow them;
      numbers that, or whose standardised values, are not finite in float32.
  """
  schema = encoding.schema
  check_columns(schema, table, labels=False)
  codes = np.empty((table.n_rows, len(schema.categorical)), np.int32)
  for j, (column, known) in enumerate(encoding.categories.items()):
    texts = _texts(schema, table, column)
    codes[:, j] = _positions(texts, known)
    if (codes[:, j] < 0).any():
      _check_unseen(schema, table, column, texts, codes[:, j] < 0, known)
  numbers = _as_float32(schema, table, _numbers(schema, table), np.arange(table.n_rows))
  with np.errstate(over="ignore"):
    scaled = (logged(encoding, numbers) - encoding.mean) / encoding.std
  _check_size(schema, table, numbers, scaled, np.arange(table.n_rows))
  return {"numbers": numbers, "codes": codes}


def logged(encoding: Encoding, numbers: Any, *, xp: Any = np) -> Any:
  """Takes the logarithms of `numbers` of `raw_inputs`; float32 [n, numbers], NaN stays."""
  return _signed_log(numbers, _is_log(encoding.schema), xp)


def assemble(encoding: Encoding, numbers: Any, codes: Any, *, xp: Any = np) -> Any:
  """Joins standardised numbers and 0/1 columns, from `logged` numbers and codes.

  Args:
    xp: numpy, or jax.numpy: numbers, codes and the encoding's arrays may then be traced.

  Returns:
    float32 [n, len(encoding.names)].
  """
  scaled = (xp.where(xp.isnan(numbers), encoding.median, numbers) - encoding.mean) / encoding.std
  hot = [
    codes[:, j, None] == np.array([known.index(v) for v in _shown(encoding.schema, known)], np.int32)
    for j, known in enumerate(encoding.categories.values())
  ]
  return xp.concatenate([scaled, *hot], axis=1, dtype=np.float32)


def scaled_by(encoding: Encoding, scaler: Mapping[str, Any]) -> Encoding:
  """Puts other statistics into an encoding: `median`, `mean`, `std`, arrays [numbers], maybe traced."""
  return encoding._replace(median=scaler["median"], mean=scaler["mean"], std=scaler["std"])


def features(encoding: Encoding, numbers: Any, codes: Any, *, xp: Any = np) -> Any:
  """Computes the features of `raw_inputs`, float32 [n, len(encoding.names)]; traceable, as `assemble`."""
  return assemble(encoding, logged(encoding, numbers, xp=xp), codes, xp=xp)


def encode(encoding: Encoding, table: Table) -> np.ndarray:
  """Computes the features of any rows, float32 [n_rows, len(encoding.names)]; errors as `raw_inputs`."""
  return features(encoding, **raw_inputs(encoding, table))


def label_values(encoding: Encoding, table: Table, name: str) -> np.ndarray:
  """Reads a label by name: int32 [n_rows] class numbers, or float64 for "number" and "log".

  Raises:
    ValueError: no such label, a missing value, a class that no training row had.
  """
  found = {label.name: label for label in encoding.schema.labels}
  if name not in found:
    raise ValueError(f"the schema has no label '{name}'{hint(name, found)}")
  label, known = found[name], encoding.classes[name]
  if label.column not in table.columns:
    raise ValueError(f"{table.source} has no column '{label.column}'{hint(label.column, table.columns)}")
  if label.kind != "classes":
    return _value(label, table)
  texts = text_of(table, label.column, missing="error")
  codes = _positions(texts, known)
  if (codes < 0).any():
    i = int(np.argmax(codes < 0))
    raise ValueError(
      f"{table.source} row {table.first + i}: '{label.column}' is '{texts[i]}', a class that no"
      " training row had"
    )
  return codes


def to_json(encoding: Encoding) -> dict[str, Any]:
  """Turns an encoding into plain data; float32 values survive exactly."""
  arrays = {k: [float(x) for x in getattr(encoding, k)] for k in ("median", "mean", "std")}
  kept = {k: {n: list(v) for n, v in getattr(encoding, k).items()} for k in ("categories", "classes")}
  return {"schema": schema_content(encoding.schema), **kept, **arrays}


def from_json(content: Mapping[str, Any]) -> Encoding:
  """Makes an encoding of plain data: the inverse of `to_json`."""
  kept: dict[str, Any] = {k: {n: tuple(v) for n, v in content[k].items()} for k in ("categories", "classes")}
  arrays: dict[str, Any] = {k: np.array(content[k], np.float32) for k in ("median", "mean", "std")}
  return Encoding(schema=parse_schema(content["schema"]), **kept, **arrays)


def _as_float32(schema: Schema, table: Table, numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
  """Casts numbers [n, numbers] of these rows to float32; refuses those too large for it."""
  with np.errstate(over="ignore"):
    single = numbers.astype(np.float32)
  _check_size(schema, table, numbers, single, rows)
  return single


def _check_size(
  schema: Schema, table: Table, numbers: np.ndarray, single: np.ndarray, rows: np.ndarray
) -> None:
  """Refuses numbers of which the float32 array `single` made an infinite one, by row and column."""
  lost = np.isfinite(numbers) & ~np.isfinite(single)
  if lost.any():
    i, j = np.argwhere(lost)[0]
    raise ValueError(
      f"{table.source} row {table.first + rows[i]}: column '{schema.numbers[j]}' is {numbers[i, j]:.6g}, too"
      " large for float32, beside its training rows or by itself: fix it"
    )


def _check_rounding(schema: Schema, table: Table, numbers: np.ndarray, rounded: np.ndarray) -> None:
  """Refuses columns of which float32, the inputs of every program, would keep no detail, e.g. times."""
  for j, column in enumerate(schema.numbers):
    known = np.isfinite(numbers[:, j])
    spread, centre = rounded_away(numbers[known, j], rounded[known, j])
    if spread:
      raise ValueError(
        f"{table.source}: column '{column}' varies by {spread:.3g} around {centre:.6g},"
        " which float32 rounds away: subtract a constant from it, e.g. its least value"
      )


def rounded_away(exact: np.ndarray, rounded: np.ndarray) -> tuple[float, float]:
  """Returns the spread and the centre of variation that rounding takes away from a column; 0 and 0: none.

  Looked at are all values; the middle half of the distinct ones, whose spread no outlier hides; and, of up to
  100 distinct ones, the gaps. A tenth of a million millionths of a value is no gap, but noise of float64.

  Args:
    exact: float64 [n]. rounded: the same after rounding, float64.
  """
  if not len(exact):
    return 0.0, 0.0
  distinct, first = np.unique(exact, return_index=True)
  after = rounded[first]
  low, high = np.quantile(distinct, [0.25, 0.75])
  middle = (distinct >= low) & (distinct <= high)
  for x, y in ((exact, rounded), (distinct[middle], after[middle])):
    if len(x) and np.abs(y - x).max() > ROUNDED * x.std() > 0:
      return float(x.std()), float(x.mean())
  gaps = np.diff(distinct)
  merged = (np.diff(after) <= 0) & (gaps > NOISE * np.abs(distinct[1:]))
  if len(distinct) <= FEW_VALUES and merged.any():
    i = int(np.argmax(merged))
    return float(gaps[i]), float(distinct[i])
  return 0.0, 0.0


def _check_unseen(
  schema: Schema,
  table: Table,
  column: str,
  texts: np.ndarray,
  unseen: np.ndarray,
  known: tuple[str, ...],
) -> None:
  """Refuses categories that no training row had, or warns of them, as the schema says."""
  i, count = int(np.argmax(unseen)), int(unseen.sum())
  if schema.unseen == "error":
    raise ValueError(
      f"{table.source} row {table.first + i}: column '{column}' has the category '{texts[i]}', which no"
      f" training row had{hint(texts[i], known)}: fix it, or set the schema's unseen to 'zeros'"
    )
  if schema.unseen == "any":
    return
  message = (
    f"{table.source}: {count} of {len(texts)} rows have a category in column '{column}' that no training row"
    f" had, e.g. '{texts[i]}' in row {table.first + i}"
  )
  if 1 < count == len(texts) or (len(texts) >= FEW_ROWS and count > MOST_UNSEEN * len(texts)):
    raise ValueError(
      f"{message}: fix the column, or set the schema's unseen to 'any' to encode them as zeros"
    )
  warnings.warn(f"{message}: encoded as zeros", stacklevel=3)


def _texts(schema: Schema, table: Table, column: str) -> np.ndarray:
  texts = text_of(table, column, missing=schema.missing)
  for old, new in schema.merge.get(column, {}).items():
    texts = np.where(texts == canonical(old), canonical(new), texts)
  return texts


def _numbers(schema: Schema, table: Table) -> np.ndarray:
  found = [number_of(table, c, missing=schema.missing) for c in schema.numbers]
  return np.stack(found, axis=1) if found else np.zeros((table.n_rows, 0))


def _is_log(schema: Schema) -> np.ndarray:
  return np.arange(len(schema.numbers)) >= len(schema.numeric)


def _signed_log(x: Any, where: np.ndarray, xp: Any) -> Any:
  return xp.where(where, xp.sign(x) * xp.log1p(xp.abs(x)), x)


def _shown(schema: Schema, categories: tuple[str, ...]) -> tuple[str, ...]:
  """Categories with a 0/1 column of their own: of two, the second will do, unless there may be a third."""
  return categories[1:] if len(categories) == 2 and schema.unseen == "error" else categories


def _positions(texts: np.ndarray, known: tuple[str, ...]) -> np.ndarray:
  place = {canonical(text): i for i, text in enumerate(known)}
  distinct, inverse = np.unique(texts, return_inverse=True)
  return np.array([place.get(text, -1) for text in distinct.tolist()], np.int32)[inverse]


def _classes(label: Label, table: Table, rows: np.ndarray) -> tuple[str, ...]:
  if label.kind != "classes":
    return ("0", "1") if label.kind == "test" else ()
  classes = np.unique(text_of(table, label.column, missing="error")[rows])
  if len(classes) > MOST_CLASSES:
    raise ValueError(
      f"{table.source}: the label '{label.name}' has {len(classes)} classes: write"
      f" '{label.column} > NUMBER' for a threshold, or number({label.column}) for the value itself"
    )
  return tuple(classes.tolist())


def _value(label: Label, table: Table) -> np.ndarray:
  if label.kind == "test" and label.operator not in OPERATORS:
    equal = text_of(table, label.column, missing="error") == canonical(label.value)
    return (equal if label.operator == "==" else ~equal).astype(np.int32)
  column = table.columns[label.column]
  if label.kind == "test" and column.dtype.kind in "iu" and float(label.value).is_integer():
    return OPERATORS[label.operator](column, int(Decimal(label.value))).astype(np.int32)  # exact beyond 2^53
  numbers = number_of(table, label.column, missing="error")
  if label.kind == "test":
    return OPERATORS[label.operator](numbers, float(label.value)).astype(np.int32)
  return _signed_log(numbers, np.array(label.kind == "log"), np)
