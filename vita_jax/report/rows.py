"""The rows of a metrics.jsonl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SPLITS = ("train", "validation", "test")


def read_rows(path: Path) -> list[dict[str, Any]]:
  """Reads the rows of a metrics.jsonl; lines that are no rows (a kill cut one short) are left out."""
  path, rows = Path(path), []
  for line in path.read_bytes().split(b"\n") if path.exists() else []:
    try:
      row = json.loads(line.decode())
    except (ValueError, RecursionError):
      continue
    if _is_row(row):
      rows.append(row)
  return rows


def _is_row(row: Any) -> bool:
  kinds = {"stage": str, "at": int, "step": int, "split": str, "metrics": dict}
  return isinstance(row, dict) and all(isinstance(row.get(name), kind) for name, kind in kinds.items())


def seed_mean(value: Any) -> float | None:
  """Returns the mean over seeds of a metric in a row (a float, None, or a list of them)."""
  listed = value if isinstance(value, list) else [value]
  values = [float(v) for v in listed if isinstance(v, int | float)]
  return sum(values) / len(values) if values else None


def split_of(split: str, metric: str) -> tuple[str, str]:
  """Returns the split and the plain name of a metric: a training step may log `validation_loss`.

  >>> split_of("train", "validation_loss")
  ('validation', 'loss')
  """
  first, _, rest = metric.partition("_")
  return (first, rest) if split == "train" and first in SPLITS and rest else (split, metric)
