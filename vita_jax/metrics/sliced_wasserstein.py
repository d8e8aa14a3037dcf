"""Sliced Wasserstein distance of two sets of features: their mean distance along random lines. Host code.

For small samples: it needs no covariance, and one pass of sorting per line. (Bonneel et al., JMIV 2015.)
"""

from __future__ import annotations

import numpy as np

from vita_jax.metrics.frechet import check_alike, checked_features


def sliced_wasserstein(
  a: np.ndarray, b: np.ndarray, *, order: float = 2.0, directions: int = 512, seed: int = 0
) -> float:
  """Computes (mean over directions of W_p^p of the projected sets)^(1/p), exactly for any numbers of rows.

  W_p^p of two sets on a line is the mean over q in [0, 1] of |F_a^-1(q) - F_b^-1(q)|^p. If b is a moved by v,
  the distance (p = 2) is about |v| / sqrt(d).

  Args:
    a: features [n, d].
    b: features [m, d].
    order: p, at least 1.
    directions: how many lines, uniform on the sphere.
    seed: of the directions: the same for all sets that are compared.

  Raises:
    ValueError: unlike numbers of features, fewer than two rows, numbers that are not finite, or order < 1.

  Examples:
    >>> rows = np.random.default_rng(0).normal(size=(10, 1))
    >>> round(sliced_wasserstein(rows, rows + 3.0), 6)
    3.0
  """
  a, b = checked_features(a), checked_features(b)
  check_alike(a, b)
  if not order >= 1 or directions < 1:
    raise ValueError(f"order is {order} and directions {directions}: both must be at least 1")
  lines = np.random.default_rng(seed).normal(size=(a.shape[1], directions))
  lines /= np.linalg.norm(lines, axis=0)
  x, y = np.sort(a @ lines, axis=0), np.sort(b @ lines, axis=0)
  # Both quantile functions are constant between the multiples of 1/n and 1/m, here counted in 1/(n m).
  n, m = len(a), len(b)
  steps = np.unique(np.concatenate([np.arange(0, n + 1) * m, np.arange(0, m + 1) * n]))
  widths = np.diff(steps) / (n * m)
  apart = np.abs(x[steps[:-1] // m] - y[steps[:-1] // n]) ** order
  return float(np.mean(widths @ apart) ** (1 / order))
