"""Boxes as arrays [..., 4] of x0, y0, x1, y1: grids of locations, and non-maximum suppression.

Everything has static shapes, so that it runs inside a program and under vmap.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.metrics.detection import box_iou


def grid_centres(size: int, strides: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
  """Returns the centres [locations, 2] (x, y) of all cells and their strides [locations], float32, in pixels.

  Strides come after one another, cells row by row.

  Examples:
    >>> centres, strides = grid_centres(16, (8, 16))
    >>> centres.tolist()
    [[4.0, 4.0], [12.0, 4.0], [4.0, 12.0], [12.0, 12.0], [8.0, 8.0]]
    >>> strides.tolist()
    [8.0, 8.0, 8.0, 8.0, 16.0]
  """
  centres, lengths = [], []
  for stride in strides:
    n = size // stride
    rows, columns = np.mgrid[:n, :n].reshape(2, -1)
    centres.append((np.stack([columns, rows], axis=-1) + 0.5) * stride)
    lengths.append(np.full(n * n, stride))
  return np.concatenate(centres).astype(np.float32), np.concatenate(lengths).astype(np.float32)


def non_maximum_suppression(
  scores: jax.Array, boxes: jax.Array, *, count: int, threshold: float = 0.6, least: float = 0.0
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Keeps the best boxes of one image that do not overlap a better one that is kept.

  Args:
    scores: [locations].
    boxes: [locations, 4].
    count: how many are returned; also among how many of the best scores is looked: the best 8 * count.
    threshold: boxes with a larger intersection over union than this are one.
    least: boxes with lower scores are not looked at.

  Returns:
    scores [count], falling; boxes [count, 4]; and kept, bool [count]: where it is False there is no further
    box, and the score is 0.
  """
  looked = min(8 * count, scores.shape[0])
  best, places = jax.lax.top_k(scores, looked)
  candidates = boxes[places]
  over = box_iou(candidates, candidates) > threshold

  def keep(i: jax.Array, kept: jax.Array) -> jax.Array:
    hidden = jnp.any(over[i] & kept & (jnp.arange(looked) < i))
    return kept.at[i].set((best[i] >= least) & ~hidden)

  kept = jax.lax.fori_loop(0, looked, keep, jnp.zeros(looked, bool))
  order = jnp.argsort(~kept, stable=True)[:count]  # those kept first, in the order of their scores
  kept = kept[order]
  missing = max(count - looked, 0)
  pad = ((0, missing),)
  return (
    jnp.pad(jnp.where(kept, best[order], 0.0), pad),
    jnp.pad(jnp.where(kept[:, None], candidates[order], 0.0), (*pad, (0, 0))),
    jnp.pad(kept, pad),
  )
