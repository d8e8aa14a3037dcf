"""Bootstrap intervals of a score over held-out rows, and over seeds and rows."""

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


def crossed_interval(
  values: np.ndarray, weights: np.ndarray, *, groups: np.ndarray | None = None, seed: int = 0
) -> tuple[float, float, float]:
  """Computes a mean over seeds and rows, sum(values) / sum(weights), with its 95 % bootstrap interval.

  Both are drawn anew 1,000 times, independently of each other: a row, e.g. a person, is the same for every
  seed. Few seeds say little of their spread: of n the interval has sqrt((n - 1) / n) of it.

  Args:
    values: [seeds, rows], e.g. how many keypoints more of a person one network finds than another.
    weights: [rows], e.g. how many there are.
    groups: int [rows]; rows of one group are drawn together. None: every row by itself.
    seed: of the resamples.

  Returns:
    (mean, low, high).

  Examples:
    >>> crossed_interval(np.array([[1.0, 2.0], [1.0, 2.0]]), np.array([2, 4]))
    (0.5, 0.5, 0.5)
  """
  values, weights = np.asarray(values, np.float64), np.asarray(weights, np.float64)
  place = np.arange(len(weights)) if groups is None else np.unique(groups, return_inverse=True)[1]
  generator, n = np.random.default_rng(seed), int(place.max()) + 1
  of_groups = np.stack([np.bincount(place, row, n) for row in (weights, *values)])
  rows = generator.multinomial(n, np.full(n, 1 / n), RESAMPLES)
  seeds = generator.multinomial(len(values), np.full(len(values), 1 / len(values)), RESAMPLES) / len(values)
  found = np.sum(seeds @ of_groups[1:] * rows, axis=1) / (rows @ of_groups[0])
  low, high = np.percentile(found, [2.5, 97.5])
  return float(values.sum() / len(values) / weights.sum()), float(low), float(high)
