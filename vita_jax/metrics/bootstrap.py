"""Bootstrap intervals of a score over held-out rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

RESAMPLES = 1000
MOST_WEIGHTS = 2_000_000  # held at once


def bootstrap_interval(
  score: Callable[..., Any],
  predicted: np.ndarray,
  labels: np.ndarray,
  *,
  groups: np.ndarray | None = None,
  seed: int = 0,
) -> tuple[float, float]:
  """Computes the 95 % percentile bootstrap interval of a score over rows or groups, from 1,000 resamples.

  Args:
    score: `score(predicted, labels, weight)` with weight float [k, n] gives [k], e.g. `auc`, `r_squared`.
    predicted: [n, ...]; passed on as it is.
    labels: [n]; passed on as they are.
    groups: int [n]; rows of one group, e.g. of one person, are drawn together, since they are one observation
      and not several. None: every row by itself.
    seed: of the resamples.

  Returns:
    (low, high).
  """
  place = None if groups is None else np.unique(groups, return_inverse=True)[1]
  generator, n = np.random.default_rng(seed), len(labels) if place is None else int(place.max()) + 1
  at_once = max(1, min(RESAMPLES, MOST_WEIGHTS // len(labels)))
  values = []
  for start in range(0, RESAMPLES, at_once):
    size = min(at_once, RESAMPLES - start)
    rows = generator.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
    weights = np.bincount(rows.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
    values.append(score(predicted, labels, weights if place is None else weights[:, place]))
  low, high = np.nanpercentile(np.concatenate(values), [2.5, 97.5])
  return float(low), float(high)
