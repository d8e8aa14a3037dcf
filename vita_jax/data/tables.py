"""Tables as they come: CSV files, data frames, mappings of columns; columns as text or as numbers.

CSV files are read in chunks of rows, so that one of any size can be encoded. Errors name the file and the row
(counted from 1, without the header) in one line.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vita_jax.data.files_text import check_width, open_cells, texts

# What counts as no value: what pandas takes for one, and a question mark.
MISSING = (
  *("", "?", "NA", "N/A", "n/a", "<NA>", "#NA", "#N/A", "#N/A N/A", "NaN", "nan", "-NaN", "-nan", "NaT"),
  *("None", "none", "NULL", "Null", "null", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)
FAR = 2**32  # whole numbers beyond it are counted from their least before they become float64
TRUTH = {"True": "1", "False": "0", "true": "1", "false": "0", "TRUE": "1", "FALSE": "0"}


class Table(NamedTuple):
  """Columns of text or numbers, all of one length; `source` and `first` (row number) are for messages."""

  columns: Mapping[str, np.ndarray]
  source: str = "the table"
  first: int = 1

  @property
  def n_rows(self) -> int:
    """The number of rows."""
    return len(next(iter(self.columns.values()))) if self.columns else 0


def as_table(rows: Any, *, source: str = "the table") -> Table:
  """Makes a Table of a mapping of columns, a data frame (pandas, polars) or a Table.

  Raises:
    ValueError: columns of different lengths or of more than one dimension, or one name twice (1 and "1" are
      one).
  """
  if isinstance(rows, Table):
    return rows
  names = list(rows.columns) if hasattr(rows, "columns") else list(rows)
  if twice := [name for name, count in Counter(map(str, names)).items() if count > 1]:
    raise ValueError(f"{source} has the column '{twice[0][:40]}' twice: rename one")
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
  cells = open_cells(path)
  number, gathered = 0, []
  for number, row in cells.rows:
    gathered.append(row)
    if len(gathered) == rows:
      yield _chunk(cells.header, gathered, path, number)
      gathered = []
  if gathered or number == 0:
    yield _chunk(cells.header, gathered, path, number)


def read_table(path: str | Path) -> Table:
  """Reads a whole CSV file; errors as `read_chunks`. Whole numbers are held as such, the rest as text."""
  chunks = [{name: _compact(x) for name, x in chunk.columns.items()} for chunk in read_chunks(path)]
  columns = {}
  for name in chunks[0]:
    parts = [chunk[name] for chunk in chunks]
    text = any(part.dtype.kind == "U" for part in parts)
    parts = [part.astype(str) if text else part for part in parts]
    if text:
      check_width(max(part.itemsize for part in parts) // 4, sum(map(len, parts)), f"{path}: column '{name}'")
    columns[name] = np.concatenate(parts)
  return Table(columns, str(path))


def canonical(text: str) -> str:
  """Returns one spelling for every spelling of a number: "5" for "5.0", "+5" and "5e0"; other text as it is.

  A number with leading zeros ("007") is a code and stays.

  Examples:
    >>> [canonical(text) for text in ("5.0", "-0.50", ".5", "1e3", "007", "five")]
    ['5', '-0.5', '0.5', '1000', '007', 'five']
  """
  found = re.fullmatch(r"([+-]?)(0|[1-9][0-9]*|(?=[.][0-9]))(?:[.]([0-9]*))?(?:[eE]([+-]?[0-9]{1,2}))?", text)
  if not found:
    return text
  digits = format(Decimal(text), "f").lstrip("+-")  # exact, without an exponent
  if "." in digits:
    digits = digits.rstrip("0").rstrip(".")
  return f"-{digits}" if found[1] == "-" and digits != "0" else digits


def text_of(table: Table, column: str, *, missing: str) -> np.ndarray:
  """Returns a column as text, "" where missing; numbers in their canonical spelling.

  Warns where a column of text spells one number in several ways, e.g. as "5" and "5.0".
  """
  values = table.columns[column]
  if values.dtype.kind in "iu":
    return values.astype(str)
  distinct, places = np.unique(np.strings.strip(values.astype(str)), return_inverse=True)
  plain = ["" if text in MISSING else canonical(text) for text in distinct.tolist()]
  known = [text for text in plain if text]
  if values.dtype.kind == "U" and len(set(known)) < len(known):
    twice = next(text for text in known if known.count(text) > 1)
    spelled = [old for old, new in zip(distinct.tolist(), plain, strict=True) if new == twice]
    warnings.warn(
      f"{table.source}: column '{column}' spells {twice} in {len(spelled)} ways ({', '.join(spelled[:4])}),"
      " which count as one category; if they are codes, put a letter before them",
      stacklevel=2,
    )
  texts = np.array(plain, dtype=str)[places] if plain else np.zeros(0, str)
  _check_missing(table, column, texts == "", missing)
  return texts


def without_offset(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Casts numbers to float64; whole numbers far from zero are first counted from their column's least.

  float64 holds whole numbers up to 2^53: of 2^60 + {0, 1} a plain cast makes one value.

  Args:
    values: of any real dtype, [n] or [n, m].

  Returns:
    float64, as `values`, less the offset of each column; and the offsets, as Python's numbers [] or [m],
    0 where nothing was subtracted (columns within 2^32, and floats).
  """
  offset = np.zeros(values.shape[1:], object)
  if values.dtype.kind not in "iu" or not len(values):
    return values.astype(np.float64), offset
  least = values.min(axis=0)
  far = (least < -FAR) | (values.max(axis=0) > FAR)
  least = np.where(far, least, np.zeros_like(least))
  # Modulo 2^64 the difference is exact even where it is over the largest int64.
  counted = (values.astype(np.uint64) - least.astype(np.uint64)).astype(np.float64)
  return np.where(far, counted, values.astype(np.float64)), offset + least.astype(object)


def number_of(table: Table, column: str, *, missing: str) -> np.ndarray:
  """Returns a column as float64, NaN where missing.

  Raises:
    ValueError: text, an infinite number, whole numbers of which float64 makes one, or, under the rule
      "error", a missing value.
  """
  values = table.columns[column]
  if values.dtype.kind in "iuf":
    numbers = values.astype(np.float64)
    _check_whole(table, column, values, numbers)
  else:
    texts = np.strings.strip(values.astype(str))
    texts = np.where(np.isin(texts, MISSING), "nan", texts)
    for word, digit in TRUTH.items():
      texts = np.where(texts == word, digit, texts)
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


def _check_whole(table: Table, column: str, values: np.ndarray, numbers: np.ndarray) -> None:
  """Refuses whole numbers that are distinct, and not in float64, e.g. 2^60 and 2^60 + 1."""
  if values.dtype.kind == "f" or not len(values) or np.abs(numbers).max() <= 2**53:
    return
  distinct = np.unique(values)
  same = np.diff(distinct.astype(np.float64)) == 0
  if same.any():
    i = int(np.argmax(same))
    raise ValueError(
      f"{table.source}: column '{column}' has {distinct[i]} and {distinct[i + 1]}, which are one number in"
      " float64: subtract a constant from it, e.g. its least value"
    )


def _chunk(header: list[str], rows: list[list[str]], path: str | Path, last: int) -> Table:
  cells = zip(*rows, strict=True) if rows else [()] * len(header)
  columns = {
    name: texts(column, f"{path}: column '{name}'") for name, column in zip(header, cells, strict=True)
  }
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
  if values.dtype.kind in "mM":
    return values.astype(str)
  return texts(["" if _is_missing(value) else str(value) for value in values.tolist()], "a column")


def _is_missing(value: Any) -> bool:
  """None, NaN, and the NA and NaT of pandas, which is not imported for it (NA != NA has no truth value)."""
  return (
    value is None
    or type(value).__name__ in ("NAType", "NaTType")
    or (isinstance(value, float) and value != value)
  )


def _is_number(text: str) -> bool:
  try:
    float(text)
  except ValueError:
    return False
  return True


def _as(table: Table, column: str, empty: np.ndarray) -> str:
  """How the first missing value is written, if it is written at all."""
  text = str(table.columns[column][int(np.argmax(empty))]).strip()
  return f" ('{text}' counts as missing)" if text and text.lower() != "nan" else ""


def _check_missing(table: Table, column: str, empty: np.ndarray, rule: str) -> None:
  if rule == "error" and empty.any():
    row = table.first + int(np.argmax(empty))
    raise ValueError(
      f"{table.source} row {row}: column '{column}' has no value{_as(table, column, empty)}"
      f" ({empty.sum()} such rows): fill them, or (for inputs) set the schema's missing to 'fill'"
    )
