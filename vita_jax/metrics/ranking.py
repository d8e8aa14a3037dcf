"""Scores that compare ranks: the area under the ROC curve, on the host and inside a compiled step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def auc(score: np.ndarray, positive: np.ndarray, weight: np.ndarray | None = None) -> Any:
  """Computes the area under the ROC curve; ties count half.

  Args:
    score: float [n].
    positive: bool or 0/1 [n].
    weight: float [..., n], optional: each weighting of the rows gives an area of its own.

  Returns:
    A float, or with `weight` an array [...]; NaN where only one class has weight.

  Raises:
    ValueError: scores that are NaN, labels other than 0 and 1, or unequal lengths.

  Examples:
    >>> auc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([0, 0, 1, 1]))
    0.875
  """
  score, labels = np.asarray(score), np.asarray(positive)
  if score.ndim != 1 or score.shape != labels.shape:
    raise ValueError(f"score and positive must be of one length, got {score.shape} and {labels.shape}")
  if np.isnan(score).any():
    raise ValueError(f"{int(np.isnan(score).sum())} of {score.size} scores are NaN: they have no rank")
  positive = labels.astype(bool)  # `~` of an integer is no negation
  if (positive != labels).any():
    raise ValueError(f"positive must be 0 or 1, found {np.unique(labels)[:5].tolist()}")
  weight = np.ones(len(score)) if weight is None else weight
  order = np.argsort(score, kind="stable")
  starts = np.nonzero(np.diff(score[order], prepend=np.nan) != 0)[0]  # of each distinct score
  ordered, positive = weight[..., order], positive[order]
  w_positive = np.add.reduceat(ordered * positive, starts, axis=-1)
  w_negative = np.add.reduceat(ordered * ~positive, starts, axis=-1)
  below = np.cumsum(w_negative, axis=-1) - w_negative / 2
  total = w_positive.sum(-1) * w_negative.sum(-1)
  area = np.sum(w_positive * below, axis=-1) / np.where(total > 0, total, np.nan)
  return area if area.ndim else float(area)


def one_vs_rest_auc(
  probabilities: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
  """Computes the AUC of each class against the others.

  Args:
    probabilities: float [n, C].
    labels: int [n].
    weight: float [..., n], optional, as in `auc`.

  Returns:
    float64 [C, ...]; NaN where a class has no rows, or all of them.
  """
  return np.array([auc(probabilities[:, c], labels == c, weight) for c in range(probabilities.shape[1])])


def mean_auc(probabilities: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None) -> Any:
  """Computes the AUC of class 1 of two, or the mean of `one_vs_rest_auc` over more; arguments as there."""
  if probabilities.shape[1] == 2:
    return auc(probabilities[:, 1], labels == 1, weight)
  area = np.nanmean(one_vs_rest_auc(probabilities, labels, weight), axis=0)
  return area if np.ndim(area) else float(area)


def auc_in_step(score: jax.Array, label: jax.Array) -> jax.Array:
  """Computes the same area in JAX: score [n], label [n] in {0, 1}; 0.5 where there is one class only."""
  ordered = jnp.sort(score)
  low, high = (jnp.searchsorted(ordered, score, side=side) for side in ("left", "right"))
  rank = (low + high + 1) / 2
  positive = jnp.sum(label)
  negative = label.size - positive
  area = jnp.sum(rank * label) - positive * (positive + 1) / 2
  both = positive * negative
  return jnp.where(both > 0, area / jnp.maximum(both, 1), 0.5)
