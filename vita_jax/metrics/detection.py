"""Detection: how far boxes overlap, and the average precision of one class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np


class Found(NamedTuple):
  """What a detector found in one image: `scores` [n] and `boxes` [n, 4] as x0, y0, x1, y1."""

  scores: Any
  boxes: Any


def box_areas(boxes: Any) -> Any:
  """Returns the areas [...] of boxes [..., 4]; a box whose sides are crossed has none.

  Arrays of NumPy are computed by NumPy, as in `box_iou`.
  """
  xp = _library(boxes)
  return xp.prod(xp.maximum(boxes[..., 2:] - boxes[..., :2], 0.0), axis=-1)


def box_iou(a: Any, b: Any) -> Any:
  """Returns intersection over union [..., n, m] of boxes a [..., n, 4] and b [..., m, 4].

  It is 0 where both are empty. Two arrays of NumPy are computed by NumPy, since the number of boxes of a
  picture changes, and JAX would compile for each; anything else, traced arrays among it, by JAX.

  Examples:
    >>> box_iou(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 3, 2], [5, 5, 6, 6]])).round(3).tolist()
    [[0.333, 0.0]]
  """
  xp = _library(a, b)
  low = xp.maximum(a[..., :, None, :2], b[..., None, :, :2])
  high = xp.minimum(a[..., :, None, 2:], b[..., None, :, 2:])
  shared = xp.prod(xp.maximum(high - low, 0.0), axis=-1)
  union = box_areas(a)[..., :, None] + box_areas(b)[..., None, :] - shared
  return xp.where(union > 0, shared / xp.where(union > 0, union, 1.0), 0.0)


def _library(*arrays: Any) -> Any:
  """NumPy where all arrays are NumPy's, else jax.numpy."""
  return np if all(isinstance(x, np.ndarray) for x in arrays) else jnp


def average_precision(found: Sequence[Found], true: Sequence[np.ndarray], *, threshold: float = 0.5) -> float:
  """Computes the average precision of one class over images, by PASCAL VOC's rule over all points (2010 on).

  All boxes found are taken by falling score (equal ones as they stand). One is right if the true box of its
  image that it overlaps most has an intersection over union of at least `threshold` and was not matched yet;
  a second box on the same person is wrong. With the precision p at each recall r replaced by the largest p at
  any recall from r on, the result is the area under p(r). (COCO's number is the mean over 101 values of r,
  and over thresholds.)

  Args:
    found: one for each image, after non-maximum suppression.
    true: boxes [k, 4] of each image; k may be 0.
    threshold: of the overlap.

  Returns:
    In [0, 1].

  Raises:
    ValueError: unlike numbers of images, no true box at all, or a score that is NaN.

  Examples:
    >>> here, away = [0.0, 0.0, 2.0, 2.0], [8.0, 8.0, 9.0, 9.0]
    >>> average_precision([Found([0.9, 0.8], [away, here])], [np.array([here])])
    0.5
  """
  if len(found) != len(true):
    raise ValueError(f"detections of {len(found)} images, and true boxes of {len(true)}")
  if not (positives := sum(len(boxes) for boxes in true)):
    raise ValueError("there is no true box in any image: average precision is not defined")
  scores = np.concatenate([np.asarray(one.scores, np.float64).reshape(-1) for one in found])
  if np.isnan(scores).any():
    raise ValueError("a score is NaN: it has no place in the order")
  right = np.concatenate(
    [
      _right(one, np.asarray(boxes, np.float32).reshape(-1, 4), threshold)
      for one, boxes in zip(found, true, strict=True)
    ]
  )[np.argsort(-scores, kind="stable")]
  hits = np.cumsum(right)
  precision = hits / np.arange(1, len(right) + 1)
  best = np.maximum.accumulate(precision[::-1])[::-1]
  return float(np.sum(best[right]) / positives)


def _right(one: Found, true: np.ndarray, threshold: float) -> np.ndarray:
  """Whether each box of one image is right, bool [n]."""
  scores = np.asarray(one.scores, np.float64).reshape(-1)
  right, taken = np.zeros(len(scores), bool), np.zeros(len(true), bool)
  if not len(scores) or not len(true):
    return right
  overlaps = box_iou(np.asarray(one.boxes, np.float32), true)
  for i in np.argsort(-scores, kind="stable"):
    nearest = int(np.argmax(overlaps[i]))
    right[i] = overlaps[i, nearest] >= threshold and not taken[nearest]
    taken[nearest] |= right[i]
  return right
