"""The rows of a metrics.jsonl."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

SPLITS = ("train", "validation", "test")


def read_rows(path: Path, *, warn: Callable[[str], None] | None = None) -> list[dict[str, Any]]:
  """Reads the rows of a metrics.jsonl; lines that are no rows are left out, with one warning for all.

  A last line without its end is left out silently: a kill cut it short. So are blank lines.

  Args:
    path: the file; where there is none, there are no rows.
    warn: gets the warning, one line; by default it is a RuntimeWarning.
  """
  path = Path(path)
  if not path.exists():
    return []
  *lines, torn = path.read_bytes().split(b"\n")
  found = [_row(line) for line in lines]
  broken = [i for i, line in enumerate(lines, 1) if line.strip() and found[i - 1] is None]
  if broken:
    others = f" (and {len(broken) - 1} more lines)" if len(broken) > 1 else ""
    text = f"{path}, line {broken[0]}{others}: no row of metrics; left out"
    if warn:
      warn(f"warning: {text}")
    else:
      warnings.warn(text, RuntimeWarning, stacklevel=2)
  return [row for row in [*found, _row(torn)] if row is not None]


def _row(line: bytes) -> dict[str, Any] | None:
  try:
    row = json.loads(line.decode())
  except (ValueError, RecursionError):
    return None
  kinds = {"stage": str, "at": int, "step": int, "split": str, "metrics": dict}
  is_row = isinstance(row, dict) and all(isinstance(row.get(name), kind) for name, kind in kinds.items())
  return row if is_row else None


def seed_mean(value: Any) -> float | None:
  """Returns the mean over seeds of a metric in a row (a float, None, or a list of them)."""
  listed = value if isinstance(value, list) else [value]
  values = [float(v) for v in listed if isinstance(v, int | float)]
  return sum(values) / len(values) if values else None


def split_of(split: str, metric: str) -> tuple[str, str]:
  """Returns the split and the plain name of a metric: a training step may log `validation_loss`.

  Examples:
    >>> split_of("train", "validation_loss")
    ('validation', 'loss')
  """
  first, _, rest = metric.partition("_")
  return (first, rest) if split == "train" and first in SPLITS and rest else (split, metric)
