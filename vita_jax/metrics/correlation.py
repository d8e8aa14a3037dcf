"""Correlations of predicted with true values, and of their orders, on the host."""

from __future__ import annotations

import numpy as np


def pearson(predicted: np.ndarray, labels: np.ndarray) -> float:
  """Computes the Pearson correlation of raw values [n], in float64; 0 where either is constant.

  NaN where a value is not finite: a model that has diverged has no score.
  """
  if not (np.isfinite(predicted).all() and np.isfinite(labels).all()):
    return float("nan")
  x, y = (np.asarray(v, np.float64) - np.mean(v, dtype=np.float64) for v in (predicted, labels))
  root = np.sqrt(np.sum(x * x) * np.sum(y * y))
  return 0.0 if root == 0 else float(np.sum(x * y) / root)


def spearman(predicted: np.ndarray, labels: np.ndarray) -> float:
  """Computes the Pearson correlation of ranks [n]; ties share their mean rank, NaN as in `pearson`."""
  from scipy.stats import rankdata

  finite = np.isfinite(predicted).all() and np.isfinite(labels).all()
  return pearson(rankdata(predicted), rankdata(labels)) if finite else float("nan")


def kendall(first: np.ndarray, second: np.ndarray) -> float:
  """Computes Kendall's tau-b of two scores [n]: how far they put n things into one order, -1 to 1.

  (pairs in the same order - pairs in the other) / sqrt(pairs that are no ties in the first * pairs that are
  none in the second). 0 where either is constant, NaN as in `pearson`.

  Examples:
    >>> round(kendall(np.array([1, 2, 3, 4]), np.array([1, 2, 4, 3])), 4)
    0.6667
  """
  if not (np.isfinite(first).all() and np.isfinite(second).all()):
    return float("nan")
  x, y = (np.sign(np.subtract.outer(v, v)) for v in (np.asarray(first, float), np.asarray(second, float)))
  root = np.sqrt(np.sum(x * x) * np.sum(y * y))
  return 0.0 if root == 0 else float(np.sum(x * y) / root)
