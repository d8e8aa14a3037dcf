"""What a mask looks like: sparsity of each array, overlap of two masks, bytes with and without it."""

from __future__ import annotations

from typing import Any

import numpy as np

from vita_jax.compress.masks import Masks, leaves_by_path


def layer_sparsity(masks: Masks) -> dict[str, float]:
  """Computes path -> share of pruned weights in that array; 0 for an empty one."""
  kept = {name: (int(np.count_nonzero(np.asarray(m))), int(np.size(m))) for name, m in masks.items()}
  return {name: 1.0 - n / size if size else 0.0 for name, (n, size) in kept.items()}


def overlap(first: Masks, second: Masks) -> float:
  """Computes the Jaccard index of the kept weights of two masks: |A and B| / |A or B|; 1 for two empty ones.

  Raises:
    ValueError: masks of different arrays.
  """
  if set(first) != set(second):
    raise ValueError(f"the masks are of different arrays: {sorted(set(first) ^ set(second))[:4]}")
  both = either = 0
  for name in first:
    a, b = np.asarray(first[name]), np.asarray(second[name])
    both, either = both + int(np.count_nonzero(a & b)), either + int(np.count_nonzero(a | b))
  return both / either if either else 1.0


def sizes(params: Any, masks: Masks) -> dict[str, int]:
  """Counts weights, and bytes of all weights (4 each) stored whole or sparse.

  Returns:
    `weights`, `maskable`, `kept` (of the maskable ones), and bytes: `dense`; `bitmap` (kept weights and one
    bit for each maskable one); `indexed` (kept weights with an int32 index each); `mask` (the bits alone).
  """
  leaves = {name: int(np.size(x)) for name, x in leaves_by_path(params).items()}
  total, maskable = sum(leaves.values()), sum(leaves[name] for name in masks)
  kept = sum(int(np.count_nonzero(np.asarray(m))) for m in masks.values())
  bits = sum(int(np.prod(m.shape[:-1])) * -(-m.shape[-1] // 8) for m in masks.values())
  rest = 4 * (total - maskable)
  return {
    "weights": total,
    "maskable": maskable,
    "kept": kept,
    "dense": 4 * total,
    "bitmap": rest + 4 * kept + bits,
    "indexed": rest + 8 * kept,
    "mask": bits,
  }
