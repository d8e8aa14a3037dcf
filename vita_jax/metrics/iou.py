"""Scores that come from a confusion matrix: per-class IoU and accuracy, and their means.

The mean over classes and the overall share of right pixels are different numbers; published ones are often
compared across the two. Print both.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

IGNORE = 255


def confusion_matrix(
  predicted: jax.Array, labels: jax.Array, classes: int, *, ignore: int | None = None
) -> jax.Array:
  """Counts how often class `row` was predicted as class `column`; matrices of batches and devices add up.

  Args:
    predicted: int [...], 0 to classes - 1.
    labels: int [...], the same shape.
    classes: how many.
    ignore: a label that is not counted, e.g. 255; None: every label is.

  Returns:
    int32 [classes, classes].

  Raises:
    ValueError: unlike shapes, an ignored label that is a class, or a label or prediction that is no class
      (arrays that are traced are not looked at: there, such entries are not counted).

  Examples:
    >>> confusion_matrix(jnp.array([0, 1, 1, 0]), jnp.array([0, 1, 0, 255]), 2, ignore=255).tolist()
    [[1, 1], [0, 1]]
  """
  predicted, labels = jnp.asarray(predicted), jnp.asarray(labels)
  if predicted.shape != labels.shape:
    raise ValueError(
      f"predicted and labels must be of one shape, they are {predicted.shape} and {labels.shape}"
    )
  if ignore is not None and 0 <= ignore < classes:
    raise ValueError(
      f"ignore is {ignore}: it is one of the {classes} classes; give a label that is none, e.g. 255"
    )
  counted = jnp.ones(labels.shape, bool) if ignore is None else labels != ignore
  for name, x in (("labels", labels), ("predicted", predicted)):
    if not isinstance(x, jax.core.Tracer) and not isinstance(counted, jax.core.Tracer):
      found = np.asarray(x)[np.asarray(counted)]
      if found.size and (found.min() < 0 or found.max() >= classes):
        odd = int(found.max() if found.max() >= classes else found.min())
        raise ValueError(
          f"{name} have {odd}, and there are {classes} classes, from 0 on: correct it, or ignore it"
        )
  inside = counted & (labels >= 0) & (labels < classes) & (predicted >= 0) & (predicted < classes)
  place = jnp.where(inside, labels.astype(jnp.int32) * classes + predicted.astype(jnp.int32), classes**2)
  return jnp.bincount(place.ravel(), length=classes**2 + 1)[:-1].reshape(classes, classes).astype(jnp.int32)


def class_iou(confusion: Any) -> np.ndarray:
  """Computes TP / (TP + FP + FN) of each class: [C, C] -> float64 [C]; NaN for a class that never occurs.

  Examples:
    >>> class_iou(np.array([[3, 1], [0, 4]])).tolist()
    [0.75, 0.8]
  """
  counts = np.asarray(confusion, np.float64)
  right = np.diag(counts)
  return _share(right, counts.sum(0) + counts.sum(1) - right)


def mean_iou(confusion: Any) -> float:
  """Computes the mean of `class_iou` over the classes that occur, as labels or predictions."""
  return _mean(class_iou(confusion))


def class_accuracy(confusion: Any) -> np.ndarray:
  """Computes the share of each class's labels predicted right: [C, C] -> float64 [C]; NaN without labels."""
  counts = np.asarray(confusion, np.float64)
  return _share(np.diag(counts), counts.sum(1))


def mean_class_accuracy(confusion: Any) -> float:
  """Computes the mean of `class_accuracy` over the classes that have labels (balanced accuracy).

  Examples:
    >>> mean_class_accuracy(np.array([[90, 0], [10, 0]]))  # overall: 0.9
    0.5
  """
  return _mean(class_accuracy(confusion))


def overall_accuracy(confusion: Any) -> float:
  """Computes the share of all labels that are predicted right; NaN without labels."""
  counts = np.asarray(confusion, np.float64)
  return float(_share(np.trace(counts), counts.sum()))


def _share(part: Any, whole: Any) -> Any:
  part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
  return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
  return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
