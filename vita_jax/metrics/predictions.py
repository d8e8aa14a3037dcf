"""Scores of predicted probabilities and values on held-out rows. Plain numpy, on the host.

All take `weight` float [..., n], optional, and then return an array [...]: one score per weighting of the
rows, which is what a bootstrap asks for (`bootstrap_interval`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

LEAST_PROBABILITY = 1e-7


def cross_entropies(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Computes `-log p_label` of each row, in nats; probabilities below 1e-7 count as 1e-7.

  Args:
    probabilities: float [n, C].
    labels: int [n].
  """
  chosen = probabilities[np.arange(len(labels)), labels]
  return -np.log(np.clip(chosen, LEAST_PROBABILITY, 1.0))


def information(probabilities: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None) -> Any:
  """Computes `H(Y) - cross-entropy` in nats, a lower bound of the mutual information I(Y; Z) up to sampling.

  Negative where the probabilities are worse than the shares of the classes.

  Args:
    probabilities: float [n, C], a model's of Y given Z.
    labels: int [n].
    weight: float [..., n], optional.
  """
  weight = np.ones(len(labels)) if weight is None else weight
  total = weight.sum(-1)
  shares = np.stack([(weight * (labels == c)).sum(-1) / total for c in range(probabilities.shape[1])])
  entropy = -np.sum(shares * np.log(np.where(shares > 0, shares, 1.0)), axis=0)
  value = entropy - weight @ cross_entropies(probabilities, labels) / total
  return value if np.ndim(value) else float(value)


def r_squared(predicted: np.ndarray, values: np.ndarray, weight: np.ndarray | None = None) -> Any:
  """Computes `1 - squared error / variance`: 1 is exact, 0 the constant prediction of the mean.

  Args:
    predicted: float [n].
    values: float [n], not constant.
    weight: float [..., n], optional.
  """
  weight = np.ones(len(values)) if weight is None else weight
  total, values = weight.sum(-1), values.astype(np.float64)
  variance = weight @ values**2 / total - (weight @ values / total) ** 2
  value = 1 - weight @ (values - predicted) ** 2 / total / variance
  return value if np.ndim(value) else float(value)
