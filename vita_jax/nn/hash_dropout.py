"""Dropout whose mask is a hash of the position: no random bits are stored, none are kept for the gradient.

A mask by `jax.random` costs more on a CPU than the layer it guards. Here each entry hashes its own index with
the key, elementwise: XLA computes the mask inside the operation that uses it, forward and backward.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.hashing import mix


def hash_dropout(
  key: jax.Array | None, x: jax.Array, rate: float, *, strides: Sequence[int] | None = None
) -> jax.Array:
  """Zeroes each entry of x with probability `rate` and scales the others by 1 / (1 - rate).

  Args:
    key: a PRNG key; None = identity (evaluation). The same key gives the same mask.
    x: any shape, floating.
    rate: a Python number in [0, 1).
    strides: what one step along each axis adds to an entry's index; default: that of x in memory. With fixed
      strides an entry keeps its fate when an axis is cut shorter.

  Raises:
    ValueError: a rate outside [0, 1).
  """
  if not 0 <= rate < 1:
    raise ValueError(f"dropout rate must be in [0, 1), got {rate}")
  if key is None or rate == 0:
    return x
  bits = hash_bits(key, x.shape, strides=strides)
  return jnp.where(bits >= np.uint32(round(rate * 2**32)), x / (1 - rate), 0).astype(x.dtype)


def hash_bits(key: jax.Array, shape: Sequence[int], *, strides: Sequence[int] | None = None) -> jax.Array:
  """Computes uint32 [*shape]: two keyed rounds of MurmurHash3's finaliser over an entry's index mod 2^32."""
  if strides is None:
    strides = [int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape))]
  first, second = jax.random.key_data(key).ravel()[:2]
  x = first
  for axis, stride in enumerate(strides):
    x = x + jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * np.uint32(stride % 2**32)
  return mix(mix(x) ^ second)
