"""Tables as they come: CSV files, data frames, mappings of columns; columns as text or as numbers.

CSV files are read in chunks of rows, so that one of any size can be encoded. Errors name the file and the row
(counted from 1, without the header) in one line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "?")


class Table(NamedTuple):
  """Columns of text or numbers, all of one length; `source` and `first` (row number) are for messages."""

  columns: Mapping[str, np.ndarray]
  source: str = "the table"
  first: int = 1

  @property
  def n_rows(self) -> int:
    return len(next(iter(self.columns.values()))) if self.columns else 0


def as_table(rows: Any, *, source: str = "the table") -> Table:
  """Makes a Table of a mapping of columns, a data frame (pandas, polars) or a Table.

  Raises:
    ValueError: columns of different lengths, or of more than one dimension.
  """
  if isinstance(rows, Table):
    return rows
  names = list(rows.columns) if hasattr(rows, "columns") else list(rows)
  columns = {str(name): _plain(np.asarray(rows[name])) for name in names}
  lengths = {name: len(x) for name, x in columns.items()}
  if len(set(lengths.values())) > 1:
    raise ValueError(f"the columns of {source} have different lengths: {lengths}")
  return Table(columns, source)


def read_chunks(path: str | Path, *, rows: int = 50_000) -> Iterator[Table]:
  """Reads a CSV file (comma, header, UTF-8) in tables of at most `rows` rows; at least one, maybe empty.

  Raises:
    FileNotFoundError: no such file.
    ValueError: no header, one name twice, a row of another length, other separators, bytes that are no text.
  """
  path = Path(path)
  if not path.is_file():
    raise FileNotFoundError(f"no file {path}; check the path")
  with path.open(encoding="utf-8-sig", newline="") as file:
    reader = csv.reader(file)
    try:
      header = [name.strip() for name in next(reader, [])]
      _check_header(path, header)
      number, gathered = 0, []
      for row in reader:
        if not row:
          continue  # an empty line
        number += 1
        if len(row) != len(header):
          raise ValueError(f"{path} row {number} has {len(row)} cells, the header {len(header)}: fix the row")
        gathered.append(row)
        if len(gathered) == rows:
          yield _chunk(header, gathered, path, number)
          gathered = []
      if gathered or number == 0:
        yield _chunk(header, gathered, path, number)
    except (csv.Error, UnicodeDecodeError) as error:
      raise ValueError(f"{path} is not a CSV file in UTF-8 ({error}); save it again as one") from error


def read_table(path: str | Path) -> Table:
  """Reads a whole CSV file; errors as `read_chunks`. Whole numbers are held as such, the rest as text."""
  chunks = [{name: _compact(x) for name, x in chunk.columns.items()} for chunk in read_chunks(path)]
  columns = {}
  for name in chunks[0]:
    parts = [chunk[name] for chunk in chunks]
    text = any(part.dtype.kind == "U" for part in parts)
    columns[name] = np.concatenate([part.astype(str) if text else part for part in parts])
  return Table(columns, str(path))


def text_of(table: Table, column: str, *, missing: str) -> np.ndarray:
  """Returns a column as text, "" where missing; whole floats are written as integers."""
  values = table.columns[column]
  if values.dtype.kind in "iu":
    return values.astype(str)
  if values.dtype.kind == "f":
    whole = np.isfinite(values) & (values == np.round(values)) & (np.abs(values) < 2**53)
    texts = np.where(whole, np.where(whole, values, 0).astype(np.int64).astype(str), values.astype(str))
  else:
    texts = values.astype(str)
  texts = np.strings.strip(texts)
  texts = np.where(np.isin(texts, MISSING), "", texts)
  _check_missing(table, column, texts == "", missing)
  return texts


def number_of(table: Table, column: str, *, missing: str) -> np.ndarray:
  """Returns a column as float64, NaN where missing."""
  values = table.columns[column]
  if values.dtype.kind in "iuf":
    numbers = values.astype(np.float64)
  else:
    texts = np.strings.strip(values.astype(str))
    texts = np.where(np.isin(texts, MISSING), "nan", texts)
    try:
      numbers = texts.astype(np.float64)
    except ValueError:
      i = next(i for i, text in enumerate(texts) if not _is_number(text))
      raise ValueError(
        f"{table.source} row {table.first + i}: column '{column}' has '{texts[i]}' where a number should be"
      ) from None
  if np.isinf(numbers).any():
    i = int(np.argmax(np.isinf(numbers)))
    raise ValueError(f"{table.source} row {table.first + i}: column '{column}' is infinite; fix it")
  _check_missing(table, column, np.isnan(numbers), missing)
  return numbers


def _check_header(path: Path, header: list[str]) -> None:
  if not any(header):
    raise ValueError(f"{path} has no header: its first line must name the columns")
  if len(header) == 1 and (others := [s for s in ";\t|" if s in header[0]]):
    raise ValueError(f"{path} is separated by {others[0]!r}: save it with commas")
  if twice := sorted({name for name in header if header.count(name) > 1}):
    raise ValueError(f"{path} has the column '{twice[0]}' twice: rename one")


def _chunk(header: list[str], rows: list[list[str]], path: Path, last: int) -> Table:
  cells = zip(*rows, strict=True) if rows else [()] * len(header)
  columns = {name: np.array(column, dtype=str) for name, column in zip(header, cells, strict=True)}
  return Table(columns, str(path), last - len(rows) + 1)


def _compact(texts: np.ndarray) -> np.ndarray:
  """Texts as int64 where that loses nothing ("007" would)."""
  try:
    numbers = texts.astype(np.int64)
  except (ValueError, OverflowError):
    return texts
  return numbers if len(texts) and (numbers.astype(str) == texts).all() else texts


def _plain(values: np.ndarray) -> np.ndarray:
  if values.ndim != 1:
    raise ValueError(f"a column must have one dimension, found the shape {values.shape}")
  if values.dtype.kind in "iufU":
    return values
  return np.array(["" if v is None or v != v else str(v) for v in values.tolist()], dtype=str)


def _is_number(text: str) -> bool:
  try:
    float(text)
  except ValueError:
    return False
  return True


def _check_missing(table: Table, column: str, empty: np.ndarray, rule: str) -> None:
  if rule == "error" and empty.any():
    raise ValueError(
      f"{table.source} row {table.first + int(np.argmax(empty))}: column '{column}' has no value"
      f" ({empty.sum()} such rows): fill them, or (for inputs) set the schema's missing to 'fill'"
    )
