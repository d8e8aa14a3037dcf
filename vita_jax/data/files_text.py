"""The doors for files of text: whole texts, CSV and TSV, in UTF-8, with or without BOM, of any line ends.

Files whose names end in .gz are expanded on the way, to a stated limit at most. JSON is read by
`vita_jax.base.read_json`.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Literal, NamedTuple

import numpy as np

from vita_jax.data.files import LIMIT, cause, existing, expansion_limit

MAX_CELL = 1 << 24  # characters of a cell, or of a line
PIECE = 1 << 20
COLUMN_LIMIT = 1 << 30  # bytes of a column of text


class Cells(NamedTuple):
  """A table as it stands in the file.

  Attributes:
    header: names of the columns, stripped; they differ.
    rows: (number from 1, without the header; cells), as many as the header has; empty lines are left out.
  """

  header: list[str]
  rows: Iterator[tuple[int, list[str]]]


def read_text(path: str | os.PathLike, *, limit: int | None = None) -> str:
  r"""Reads a whole text file, perhaps .gz; every line end becomes "\n".

  Args:
    path: the file.
    limit: bytes that it may have, or expand to; None: 4 GiB, of a .gz what `files.expansion_limit` says.

  Raises:
    FileNotFoundError: no such file.
    ValueError: not UTF-8, NUL characters (UTF-16, or no text at all), a damaged .gz, or too long.
  """
  path = existing(path)
  if limit is None:
    limit = expansion_limit(path) if path.suffix == ".gz" else LIMIT
  try:
    with _opened(path) as file:
      pieces, total = [], 0
      while piece := file.read(PIECE):
        total += len(piece)
        if total > limit:
          raise _TooLarge(f"it has more than {limit} bytes")
        pieces.append(piece)
    text = b"".join(pieces).decode("utf-8-sig")
    _check_line(text)
  except (OSError, EOFError, zlib.error, ValueError) as error:
    raise ValueError(_refusal(path, error)) from error
  return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def open_cells(path: str | os.PathLike, *, separator: str = ",", quotes: bool = True) -> Cells:
  """Opens a table of text with a header line; its rows are read as they are asked for, whatever their number.

  Args:
    path: the file, perhaps .gz.
    separator: "," or a tab.
    quotes: whether cells may stand in quotation marks; where not, these are characters like all others.

  Raises:
    FileNotFoundError: no such file.
    ValueError: no header, a column without a name, a name twice, or the header of a file with another
      separator. While reading: a row with another number of cells, a quotation mark that is not closed, a
      cell of more than `MAX_CELL` characters, or what `read_text` refuses.
  """
  path = existing(path)
  rows = _rows(path, separator, quotes)
  header = [name.strip() for name in next(rows, (0, [""]))[1]]
  _check_header(path, header, separator)
  return Cells(header, _alike(path, header, rows))


def texts(cells: Sequence[str], where: str) -> np.ndarray:
  """Returns cells as an array of text, [n], in which all take as much memory as the longest.

  Raises:
    ValueError: see `check_width`; the message begins with `where`.
  """
  check_width(max(map(len, cells), default=0), len(cells), where)
  return np.array(cells, dtype=str)


def check_width(width: int, n: int, where: str) -> None:
  """Checks that `n` texts as long as the longest, of `width` characters, fit into memory.

  Raises:
    ValueError: they take more than `COLUMN_LIMIT` bytes.
  """
  if (size := 4 * width * n) > COLUMN_LIMIT:
    raise ValueError(
      f"{where} has a text of {width} characters: {n} rows as long take {size} bytes, more than"
      f" {COLUMN_LIMIT}; shorten it, or take the column out"
    )


def _rows(path: Path, separator: str, quotes: bool) -> Iterator[tuple[int, list[str]]]:
  """(number, cells) of every line that is not empty; the header is number 0."""
  csv.field_size_limit(MAX_CELL)  # of the whole process: csv has no other
  number = -1
  try:
    with ExitStack() as stack:
      _check_expansion(path)
      lines = _lines(stack.enter_context(_opened(path)))
      quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
      for row in csv.reader(lines, delimiter=separator, quoting=quoting, strict=True):
        if row:
          number += 1
          yield number, row
  except csv.Error as error:
    raise ValueError(_broken_row(path, number + 1, error)) from error
  except (OSError, EOFError, zlib.error, ValueError) as error:
    raise ValueError(_refusal(path, error)) from error


def _alike(path: Path, header: list[str], rows: Iterator) -> Iterator[tuple[int, list[str]]]:
  for number, row in rows:
    if len(row) != len(header):
      raise ValueError(f"{path} row {number} has {len(row)} cells, the header {len(header)}: fix the row")
    yield number, row


def _check_expansion(path: Path) -> None:
  """Counts what a .gz expands to before any of it is split into cells, which takes fifty times as long."""
  if path.suffix != ".gz":
    return
  limit, total = expansion_limit(path), 0
  with _opened(path) as file:
    while piece := file.read(PIECE):
      total += len(piece)
      if total > limit:
        raise _TooLarge(f"it expands to more than {limit} bytes")


def _lines(file: IO[bytes]) -> Iterator[str]:
  """Lines with their ends; what is no text, or endless, is refused before it is held."""
  text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")  # csv wants the line ends as they are
  while line := text.readline(MAX_CELL + 1):
    if len(line) > MAX_CELL:
      raise _TooLarge(f"a line has more than {MAX_CELL} characters")
    _check_line(line)
    yield line


def _opened(path: Path) -> IO[bytes]:
  return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _check_line(text: str) -> None:
  if "\0" in text:
    raise _NoText("it has NUL characters, as UTF-16 does")


def _check_header(path: Path, header: list[str], separator: str) -> None:
  if not any(header):
    raise ValueError(f"{path} has no header: its first line must name the columns")
  if len(header) == 1 and (others := [s for s in ",;\t|" if s != separator and s in header[0]]):
    raise ValueError(f"{path} is separated by {others[0]!r}: save it with {_named(separator)}")
  if "" in header:
    number = header.index("") + 1
    raise ValueError(
      f"{path}: column {number} of {len(header)} has no name in the header: give it one, or leave it out"
      " (row numbers of pandas: to_csv(..., index=False))"
    )
  if twice := [name for name, count in Counter(header).items() if count > 1]:
    raise ValueError(f"{path} has the column '{twice[0][:40]}' twice: rename one")


def _named(separator: str) -> str:
  return {",": "commas", "\t": "tabs"}.get(separator, repr(separator))


def _broken_row(path: Path, number: int, error: csv.Error) -> str:
  where = f"row {number}" if number else "the header"
  hint = (
    "is a quotation mark not closed?" if "limit" in str(error) or "end of data" in str(error) else "fix it"
  )
  return f"{path}: {where} cannot be split into cells ({cause(error)}): {hint}"


class _NoText(ValueError):
  """Bytes that are no text."""


class _TooLarge(ValueError):
  """Text of which more than the limit would have to be read."""


def _refusal(path: Path, error: Exception) -> str:
  if isinstance(error, _TooLarge):
    return f"{path} is too large: {error}; cut it into parts"
  return f"{path} is not a text in UTF-8 ({cause(error)}); save it again as one"
