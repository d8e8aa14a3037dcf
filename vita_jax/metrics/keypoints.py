"""Keypoints: how like two poses are (OKS), how many keypoints are close enough (PCK), and PCK's area."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from vita_jax.metrics.pairs import mean


def oks_terms(joints: Any, truth: Any, area: Any, sigmas: Sequence[float]) -> Any:
  """Computes exp(-d^2 / (2 area (2 sigma)^2)) of each keypoint, as pycocotools does.

  Args:
    joints: [..., K, 2].
    truth: [..., K, 2], in the same pixels.
    area: [...] of the person in square pixels: COCO's segment, not the box.
    sigmas: K numbers.

  Returns:
    [..., K], in [0, 1]; of NumPy where all arrays are NumPy's.

  Examples:
    >>> oks_terms(np.array([[10.0, 0]]), np.zeros((1, 2)), np.array(1e4), [0.062]).round(4).tolist()
    [0.7224]
  """
  xp = _library(joints, truth, area)
  squares = xp.sum(xp.square(joints - truth), axis=-1)
  spread = 2.0 * xp.square(2.0 * xp.asarray(sigmas)) * xp.maximum(area, 1e-12)[..., None]
  return xp.exp(-squares / spread)


def oks(joints: Any, truth: Any, visible: Any, area: Any, sigmas: Sequence[float]) -> Any:
  """Computes the object keypoint similarity: the mean of `oks_terms` over the labelled keypoints.

  Args:
    joints: [..., K, 2].
    truth: [..., K, 2].
    visible: [..., K]: 0 is not labelled.
    area: see `oks_terms`.
    sigmas: K numbers.

  Returns:
    [...], in [0, 1]; 0 where no keypoint is labelled. (COCO ignores such persons; leave them out of a mean.)
  """
  xp = _library(joints, truth, visible, area)
  seen = visible > 0
  total = xp.sum(xp.where(seen, oks_terms(joints, truth, area, sigmas), 0.0), axis=-1)
  return total / xp.maximum(xp.sum(seen, axis=-1), 1)


def near(joints: Any, truth: Any, length: Any, *, threshold: float = 0.2) -> Any:
  """Tells which keypoints are at most `threshold` lengths away: bool [..., K], lengths [...]."""
  xp = _library(joints, truth, length)
  distances = xp.sqrt(xp.sum(xp.square(joints - truth), axis=-1))
  return distances <= threshold * length[..., None]


def pck(
  joints: Any, truth: Any, visible: Any, length: Any, *, threshold: float = 0.2, mask: Any = None
) -> Any:
  """Counts (keypoints at most `threshold` lengths away, labelled keypoints): the percentage of correct ones.

  Args:
    joints: [n, K, 2].
    truth: [n, K, 2].
    visible: [n, K]: 0 is not labelled.
    length: [n]; persons whose length is 0 or less (unknown) are left out. See
      `vita_jax.pose.evaluate.torso_lengths`.
    threshold: in lengths.
    mask: [n]: 0 for padded rows.

  Returns:
    A pair (sum, weight) for `metrics.divide`.

  Examples:
    >>> truth = jnp.zeros((1, 2, 2))
    >>> right, count = pck(truth + jnp.array([[[1.9, 0]], ]), truth, jnp.ones((1, 2)), jnp.array([10.0]))
    >>> float(right / count)
    1.0
  """
  counted = (jnp.asarray(visible) > 0) & (jnp.asarray(length) > 0)[..., None]
  if mask is not None:
    counted = counted & (jnp.asarray(mask) > 0)[..., None]
  found = near(jnp.asarray(joints), jnp.asarray(truth), jnp.asarray(length), threshold=threshold)
  return mean(found, counted.astype(jnp.float32))


def pck_auc(distances: Any, visible: Any = None, *, limit: float = 30.0, points: int = 20) -> float:
  """Computes the area under PCK over thresholds from 0 to a limit, as a share; the mean over keypoints.

  PCK_k(t) is the share of the rows in which keypoint k is at most t away; the area is that of the trapezoids
  between the thresholds linspace(0, limit, points), over the limit. Say the thresholds beside every number:
  hands are measured from 0 to 30 pixels of 256, from 0 to 50 mm, and from 20 to 50 mm.

  Args:
    distances: [n, K] between joints and truth, in pixels or mm.
    visible: [n, K]: 0 is not labelled; None: all are. A keypoint that no row labels does not count.
    limit: the largest threshold, in the same unit.
    points: how many thresholds.

  Raises:
    ValueError: distances of another shape, or nothing labelled.

  Examples:
    >>> [round(pck_auc(np.full((4, 21), away)), 6) for away in (0.0, 10.0, 15.0, 31.0)]
    [1.0, 0.657895, 0.5, 0.0]
  """
  distances = np.asarray(distances, np.float64)
  seen = np.ones(distances.shape, bool) if visible is None else np.asarray(visible) > 0
  if distances.ndim != 2 or seen.shape != distances.shape or not seen.any():
    raise ValueError(f"distances are [n, K] with some of them labelled, these are {list(distances.shape)}")
  thresholds = np.linspace(0.0, limit, points)
  right = (distances[..., None] <= thresholds) & seen[..., None]
  counted = seen.any(axis=0)
  share = right.sum(axis=0)[counted] / seen.sum(axis=0)[counted][:, None]
  return float(np.mean(np.trapezoid(share, thresholds, axis=-1)) / limit)


def _library(*arrays: Any) -> Any:
  """NumPy where all arrays are NumPy's, else jax.numpy."""
  return np if all(isinstance(x, np.ndarray | np.generic | float | int) for x in arrays) else jnp
