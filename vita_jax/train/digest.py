"""A digest of an array that does not depend on how the array is spread over devices and processes.

With the elements' bit patterns b_i as unsigned integers and i their row-major positions, it is
sum_i w_i b_i mod 2^64, w_i an odd pseudo-random number of i: every changed element changes it, two equal
changes elsewhere do not cancel, and parts held by different processes just add up.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from vita_jax.train.cluster import gather

_GOLDEN, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
_AT_ONCE = 1 << 15  # elements: what fits the cache


def digests(leaves: Mapping[str, jax.Array]) -> dict[str, str]:
  """Computes 16 hex digits for each named array (keys of random numbers included), of dtype, shape and bits.

  In a run of several processes all must call it, and all get the same.
  """
  parts = [_local_sum(_bits_of(leaf)) for leaf in leaves.values()]
  halves = np.array([(part & 0xFFFFFFFF, part >> 32) for part in parts], np.uint32).reshape(-1)
  rows = gather(halves).astype(np.uint64).reshape(-1, len(parts), 2)
  totals: Any = np.sum(rows[..., 0] + (rows[..., 1] << np.uint64(32)), axis=0, dtype=np.uint64)
  headers = [zlib.crc32(f"{leaf.dtype}{leaf.shape}".encode()) for leaf in leaves.values()]
  return {name: f"{int(t) ^ h:016x}" for name, t, h in zip(leaves, totals, headers, strict=True)}


def _bits_of(leaf: jax.Array) -> jax.Array:
  return jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def _local_sum(array: jax.Array) -> int:
  """This process's part: the shards that it holds the first copy of."""
  total = np.uint64(0)
  strides = np.cumprod([1, *array.shape[:0:-1]], dtype=np.uint64)[::-1]
  with np.errstate(over="ignore"):
    for shard in array.addressable_shards:
      if shard.replica_id == 0:
        total += _block_sum(np.asarray(shard.data), shard.index, strides)
  return int(total)


def _block_sum(block: np.ndarray, index: tuple[slice, ...], strides: np.ndarray) -> Any:
  block = np.ascontiguousarray(block)
  bits = block.view(np.dtype(f"u{block.dtype.itemsize}"))
  if block.ndim == 0:
    return np.uint64(bits) * _weight(np.zeros((), np.uint64))
  starts = [part.start or 0 for part in index] + [0] * (block.ndim - len(index))
  axes = [
    (np.arange(length, dtype=np.uint64) + np.uint64(start)) * stride
    for length, start, stride in zip(block.shape, starts, strides, strict=True)
  ]
  row = np.zeros((), np.uint64)  # positions within a row of the first axis
  for axis in axes[1:]:
    row = row[..., None] + axis
  total = np.uint64(0)
  rows = max(1, _AT_ONCE // max(1, row.size))
  for start in range(0, len(block), rows):
    positions = axes[0][start : start + rows].reshape(-1, *[1] * row.ndim) + row
    total += np.sum(_weight(positions) * bits[start : start + rows], dtype=np.uint64)
  return total


def _weight(positions: np.ndarray) -> np.ndarray:
  mixed = (positions + np.uint64(1)) * _GOLDEN
  mixed = (mixed ^ (mixed >> np.uint64(29))) * _MIX
  return mixed | np.uint64(1)
