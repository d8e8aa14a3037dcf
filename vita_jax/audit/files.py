"""Reads representations, labels and splits from files that others made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vita_jax.base.choose import hint
from vita_jax.data import tabular
from vita_jax.data.files import read_npz
from vita_jax.data.schema import Schema, parse_label
from vita_jax.data.tables import Table, as_table, number_of, read_table, without_offset


def read_matrix(path: str, *, without: Sequence[str] = ()) -> np.ndarray:
  """Reads a representation from an npz (its array `z`, or its only matrix) or a CSV of numbers.

  Args:
    path: the file.
    without: label specifications; the columns of a CSV that they name without a file are left out.

  Returns:
    float64 [n, m], or as the npz has it: nothing is rounded before the audit centres it. Whole numbers of a
    CSV that are far from zero are counted from their column's least.

  Raises:
    ValueError: several matrices and none named `z`, cells that are no numbers. FileNotFoundError.
  """
  if path.endswith(".npz"):
    found = {name: x for name, x in read_npz(path).items() if x.ndim == 2 and x.dtype.kind in "iuf"}
    if "z" not in found and len(found) != 1:
      raise ValueError(f"{path} has the matrices {sorted(found)}: name the representation 'z'")
    z = found["z"] if "z" in found else next(iter(found.values()))
    return z
  table = read_table(path)
  labels = {parse_label("", spec).column for spec in without if not _file_of(spec)}
  kept = [name for name in table.columns if name not in labels]
  if not kept:
    raise ValueError(f"{path} has no columns left: they are all labels")
  return np.stack([_numbers(table, name) for name in kept], axis=1)


def _numbers(table: Table, name: str) -> np.ndarray:
  """A column as float64; whole numbers far from zero are counted from their least."""
  column = table.columns[name]
  return without_offset(column)[0] if column.dtype.kind in "iu" else number_of(table, name, missing="error")


def read_labels(spec: str, default: str, *, n_rows: int) -> tuple[str, np.ndarray, tuple[str, ...]]:
  """Reads (name, values [n], classes) of a label `[FILE:]NAME`, where NAME is written as in a schema.

  Values are int32 class numbers, or numbers with classes () for `number(NAME)` (whole ones as they are) and
  `log(NAME)` (float64).

  Args:
    spec: as the command line has it, e.g. "rows.csv:sex" or "age > 25".
    default: the file of a spec without FILE.
    n_rows: of the representation.

  Raises:
    ValueError: no such column, another number of rows. FileNotFoundError.
  """
  text, table = _located(spec, default)
  label = parse_label(text, text)
  _check_column(table, label.column, n_rows)
  if label.kind == "number" and table.columns[label.column].dtype.kind in "iu":
    return text, table.columns[label.column], ()
  encoding = tabular.fit(Schema(private=(label,)), table)
  return text, tabular.label_values(encoding, table, text), encoding.classes[text]


def read_column(spec: str, default: str, *, n_rows: int) -> np.ndarray:
  """Reads a column `[FILE:]NAME` as it is, e.g. ids of persons: int64 or text [n].

  Arguments as of `read_labels`.

  Raises:
    ValueError: no such column, another number of rows. FileNotFoundError.
  """
  name, table = _located(spec, default)
  _check_column(table, name, n_rows)
  return table.columns[name]


def read_split(spec: str, default: str, *, n_rows: int) -> dict[str, np.ndarray]:
  """Reads the row numbers of "train", "validation" and "test" from a column that holds these words.

  Arguments as of `read_labels`.

  Raises:
    ValueError: other words.
  """
  _, values, classes = read_labels(spec, default, n_rows=n_rows)
  names = ("train", "validation", "test")
  if set(classes) != set(names):
    raise ValueError(f"--split={spec} holds {', '.join(classes)}: it must hold train, validation and test")
  return {name: np.nonzero(values == classes.index(name))[0] for name in names}


def _located(spec: str, default: str) -> tuple[str, Table]:
  file = _file_of(spec)
  return (spec[len(file) + 1 :] if file else spec), _columns(file or default)


def _check_column(table: Table, name: str, n_rows: int) -> None:
  if name not in table.columns:
    raise ValueError(f"{table.source} has no column '{name}'{hint(name, table.columns)}")
  if table.n_rows != n_rows:
    raise ValueError(f"{table.source} has {table.n_rows} rows, the representation {n_rows}: they must match")


def _file_of(spec: str) -> str:
  file, colon, _ = spec.rpartition(":")
  return file if colon and file.endswith((".csv", ".npz")) else ""


def _columns(path: str) -> Table:
  if not path.endswith(".npz"):
    return read_table(path)
  if not Path(path).is_file():
    raise FileNotFoundError(f"no file {path}; check the path")
  return as_table({name: x for name, x in read_npz(path).items() if x.ndim == 1}, source=path)
