"""The rows of a metrics.jsonl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_rows(path: Path) -> list[dict[str, Any]]:
  """The rows of a metrics.jsonl; a last line that a kill cut short is left out."""
  rows = []
  for line in path.read_text().splitlines() if path.exists() else []:
    try:
      rows.append(json.loads(line))
    except json.JSONDecodeError:
      break
  return rows


def seed_mean(value: Any) -> float | None:
  """The mean over seeds of a metric in a row (a float, None, or a list of them)."""
  values = [v for v in (value if isinstance(value, list) else [value]) if v is not None]
  return sum(values) / len(values) if values else None
