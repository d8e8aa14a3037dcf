"""Markdown tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """Writes a Markdown table, one line for the header, one for the rule and one for each row.

  Examples:
    >>> print(table(["a", "b"], [["1", "2"]]), end="")
    | a | b |
    | --- | --- |
    | 1 | 2 |
  """
  lines = ["| " + " | ".join(line) + " |" for line in (header, *rows)]
  return "\n".join([lines[0], "|" + " --- |" * len(header), *lines[1:], ""])


def grid(cells: Mapping[tuple[str, str], str], *, corner: str = "") -> str:
  """Writes a Markdown table of named rows and columns, in the order in which they first appear.

  Args:
    cells: (row, column) -> text; missing ones stay empty.
    corner: text of the top left cell.
  """
  rows, columns = (list(dict.fromkeys(key[i] for key in cells)) for i in range(2))
  body = [[row, *(cells.get((row, column), "") for column in columns)] for row in rows]
  return table([corner, *columns], body)


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
  """Writes rows as CSV, the names of the columns first: those of the first row.

  Examples:
    >>> csv_text([{"layer": "stem", "macs": 9}, {"layer": "head", "macs": 4}])
    'layer,macs\\nstem,9\\nhead,4\\n'
  """
  out = io.StringIO()
  writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
  writer.writeheader()
  writer.writerows(rows)
  return out.getvalue()
