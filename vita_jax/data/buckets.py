"""Length buckets: batches of similar length, cut to the smallest of a few static lengths.

A program is compiled for each length that comes up, so there are few of them. Which rows make batch t stays a
pure function of (seed, t): every epoch visits each row once, padding included where `index` pads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vita_jax.data.index import batches_per_epoch, host_index


class Buckets(NamedTuple):
  """How a Stream cuts its batches.

  Attributes:
    lengths: int32 [n_rows], the length of each row.
    sizes: the static lengths, ascending; the last is at least the longest row.
    keys: the arrays that are cut, along their last axis.
    window: so many batches of shuffled rows are sorted by length together; 1 leaves the order as it is. What
      is random then is which window a row falls into, and when its batch comes up.
  """

  lengths: np.ndarray
  sizes: tuple[int, ...]
  keys: tuple[str, ...]
  window: int = 1


def make_buckets(
  lengths: np.ndarray, keys: Sequence[str], *, longest: int, step: int = 16, window: int = 1
) -> Buckets:
  """Makes buckets of `step`, 2 `step`, 4 `step`, ... up to `longest`, and none longer than the rows need.

  Raises:
    ValueError: a row longer than `longest`, or a step or window below 1.
  """
  if step < 1 or window < 1:
    raise ValueError(f"buckets need a step and a window of at least 1, got {step} and {window}")
  if len(lengths) and lengths.max() > longest:
    raise ValueError(f"a row has length {lengths.max()}, but the longest bucket is {longest}")
  needed = min(longest, -(-int(lengths.max(initial=1)) // 8) * 8)
  sizes: list[int] = []
  while not sizes or sizes[-1] < needed:
    sizes.append(min(needed, step << len(sizes)))
  return Buckets(np.asarray(lengths, np.int32), tuple(sizes), tuple(keys), window)


def grouped_index(
  buckets: Buckets, seed: int, t: int, *, n_rows: int, batch_size: int, remainder: str = "pad"
) -> tuple[np.ndarray, np.ndarray]:
  """Returns (rows int32, mask float32), [batch_size] each, of batch t: as `index`, but grouped by length.

  The rows of `window` consecutive batches are sorted by length and dealt out again; which of them comes up
  when is drawn from (epoch, window) alone, so that replicas of other seeds have rows of like length at the
  same t.
  """
  per_epoch = batches_per_epoch(n_rows, batch_size, remainder)
  epoch, within = divmod(int(t), per_epoch)
  number, place = divmod(within, buckets.window)
  n_batches = min(buckets.window, per_epoch - number * buckets.window)
  wide = buckets.window * batch_size
  rows, mask = host_index(
    seed, epoch * batches_per_epoch(n_rows, wide) + number, n_rows=n_rows, batch_size=wide
  )
  rows, mask = rows[: n_batches * batch_size], mask[: n_batches * batch_size]
  # Padding goes last. Stable: ties stay in their shuffled order.
  order = np.argsort(np.where(mask > 0, buckets.lengths[rows], np.iinfo(np.int32).max), kind="stable")
  which = np.random.default_rng([epoch, number]).permutation(n_batches)[place]
  taken = order[which * batch_size : (which + 1) * batch_size]
  return rows[taken], mask[taken]


def cut(buckets: Buckets, batch: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
  """Cuts the batch to the bucket of the longest of `rows` (those of the whole batch, of all replicas)."""
  longest = int(buckets.lengths[rows].max())
  size = next(s for s in buckets.sizes if s >= longest)
  return {k: x[..., :size] if k in buckets.keys else x for k, x in batch.items()}
