"""Which rows make batch number t: one pure function of (seed, t), the same on device and host.

Epoch e of seed s visits the rows in the order of a pseudo-random permutation that is computed
row by row: a Feistel network on ceil(log2 n_rows) bits whose rounds are keyed by (s, e, round),
with cycle walking (repeat until the value is < n_rows). Memory is O(batch_size), any batch can
be computed without the ones before it, and resuming needs nothing but the integer t.
The arithmetic is uint32 throughout and written once; `xp` is numpy or jax.numpy.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from vita_jax.base.hashing import mix

_GOLDEN = np.uint32(0x9E3779B9)
_MAX_ROWS = 2**31 - 1


def batches_per_epoch(n_rows: int, batch_size: int, remainder: str = "pad") -> int:
  """Counts the batches of one pass: ceil(n_rows / batch_size) for "pad", floor for "drop".

  Raises:
    ValueError: n_rows outside 1 .. 2**31-1, batch_size < 1, an unknown remainder, or "drop"
      with batch_size > n_rows (there would be no batch at all).
  """
  if not 1 <= n_rows <= _MAX_ROWS:
    raise ValueError(f"n_rows must be in 1 .. 2**31-1, got {n_rows}")
  if not 1 <= batch_size <= _MAX_ROWS:
    raise ValueError(f"batch_size must be in 1 .. 2**31-1, got {batch_size}")
  if remainder == "pad":
    return -(-n_rows // batch_size)
  if remainder == "drop":
    if batch_size > n_rows:
      raise ValueError(
        f"batch_size {batch_size} > n_rows {n_rows}: remainder='drop' drops every "
        "row; use a smaller batch_size or remainder='pad'"
      )
    return n_rows // batch_size
  raise ValueError(f"remainder must be 'pad' or 'drop', got {remainder!r}")


def is_padded(*, n_rows: int, batch_size: int, remainder: str) -> bool:
  """Tells whether some batch of an epoch holds padding, hence whether batches carry a "mask"."""
  return remainder == "pad" and n_rows % batch_size != 0


def index(
  seed: ArrayLike, t: ArrayLike, *, n_rows: int, batch_size: int, remainder: str = "pad"
) -> tuple[jax.Array, jax.Array]:
  """Computes the rows of batch t, on the device; works under jit and vmap with traced `seed` and `t`.

  Args:
    seed: int32 or uint32 scalar (a Python int is taken modulo 2**32).
    t: int32 scalar >= 0, batch number counted over all epochs.
    n_rows: static, 1 .. 2**31-1.
    batch_size: static.
    remainder: "pad" (the last batch of an epoch is padded) or "drop" (it is left out; which
      rows that hits changes from epoch to epoch).

  Returns:
    rows int32 [batch_size] and mask float32 [batch_size]; padding has row 0 and mask 0.

  Raises:
    ValueError: see `batches_per_epoch`.
  """
  return _index(jnp, _walk_on_device, seed, t, n_rows, batch_size, remainder)


def host_index(
  seed: ArrayLike, t: ArrayLike, *, n_rows: int, batch_size: int, remainder: str = "pad"
) -> tuple[np.ndarray, np.ndarray]:
  """Computes `index` in numpy: the same bits, without touching a device."""
  return _index(np, _walk_on_host, seed, t, n_rows, batch_size, remainder)


def permuted(
  seed: ArrayLike, epoch: ArrayLike, position: ArrayLike, n_rows: ArrayLike, *, max_rows: int
) -> jax.Array:
  """Computes the rows at positions of an epoch, where their number is known only at run time.

  Equal to the order of `index` where n_rows == max_rows; any n_rows has a bijection of its own.

  Args:
    seed: int32 or uint32 scalar.
    epoch: int32 or uint32 scalar.
    position: int32 [B], places in the epoch, in 0 .. n_rows-1; others count as 0.
    n_rows: int32 scalar, 1 .. max_rows, may be traced.
    max_rows: static.

  Returns:
    rows int32 [B].
  """
  n_rows = _word(jnp, n_rows)
  bits = np.uint32(32) - lax.clz(n_rows - np.uint32(1))
  feistel = _network(_word(jnp, seed), _word(jnp, epoch), bits, _rounds((max_rows - 1).bit_length()))
  position = jnp.asarray(position).astype(jnp.uint32)
  # A place outside could walk in a cycle that never meets a row.
  position = jnp.where(position < n_rows, position, np.uint32(0))

  # As `_walk_on_device`, with one copy of the network to compile instead of two.
  def outside(carry):
    x, is_first = carry
    return is_first | (x >= n_rows)

  def walk(carry):
    return jnp.where(outside(carry), feistel(carry[0]), carry[0]), False

  start = position, True
  return lax.while_loop(lambda carry: jnp.any(outside(carry)), walk, start)[0].astype(np.int32)


def row_order(
  t: ArrayLike, *, n_rows: int, batch_size: int, remainder: str = "pad", xp: Any = jnp
) -> tuple[Any, Any]:
  """Computes `index` without the permutation: every epoch runs through the rows in order."""
  _, position, valid = _positions(xp, t, n_rows, batch_size, remainder)
  return position.astype(np.int32), valid.astype(np.float32)


def _index(xp, walk, seed, t, n_rows, batch_size, remainder):
  epoch, position, valid = _positions(xp, t, n_rows, batch_size, remainder)
  rows = _permute(xp, walk, _word(xp, seed), epoch, position, n_rows)
  return xp.where(valid, rows, np.uint32(0)).astype(np.int32), valid.astype(np.float32)


def _positions(xp, t, n_rows, batch_size, remainder):
  """epoch uint32 [1], position in the epoch uint32 [B] (0 where padded), valid bool [B]."""
  per_epoch = np.uint32(batches_per_epoch(n_rows, batch_size, remainder))
  t = _word(xp, t)
  # At most n_rows + batch_size - 2 < 2**32, so uint32 does not overflow where int32 would.
  position = t % per_epoch * np.uint32(batch_size) + xp.arange(batch_size, dtype=np.uint32)
  valid = position < np.uint32(n_rows)
  return t // per_epoch, xp.where(valid, position, np.uint32(0)), valid


def _permute(xp, walk, seed, epoch, position, n_rows):
  """Bijection of 0 .. n_rows-1, keyed by seed and epoch (uint32 [1]), applied to uint32 [B]."""
  bits = (n_rows - 1).bit_length()
  if bits == 0:
    return position
  feistel = _network(seed, epoch, np.uint32(bits), _rounds(bits))
  if n_rows == 1 << bits:
    return feistel(position)
  return walk(feistel, position, np.uint32(n_rows))


def _rounds(bits):
  return 8 if bits > 4 else 32  # with so few bits 8 rounds leave pairs of rows non-uniform


def _network(seed, epoch, bits, rounds):
  """The Feistel network on `bits` (uint32, perhaps traced) bits: a bijection of 0 .. 2**bits - 1."""
  one = np.uint32(1)
  low_bits = (bits + one) // np.uint32(2)
  low_mask, high_mask = (one << low_bits) - one, (one << (bits - low_bits)) - one
  key = mix(mix(seed + _GOLDEN) + epoch)
  keys = mix(key + _GOLDEN * np.arange(1, rounds + 1, dtype=np.uint32))

  def feistel(x):
    high, low = x >> low_bits, x & low_mask
    for i in range(0, rounds, 2):
      high = high ^ (mix(low ^ keys[i : i + 1]) & high_mask)
      low = low ^ (mix(high ^ keys[i + 1 : i + 2]) & low_mask)
    return (high << low_bits) | low

  return feistel


def _walk_on_device(feistel, x, n_rows):
  return lax.while_loop(
    lambda x: jnp.any(x >= n_rows), lambda x: jnp.where(x >= n_rows, feistel(x), x), feistel(x)
  )


def _walk_on_host(feistel, x, n_rows):
  x = feistel(x)
  while (outside := x >= n_rows).any():
    x[outside] = feistel(x[outside])
  return x


def _word(xp, value):
  """A scalar as uint32 [1]; one-element arrays, since numpy scalars warn where uint32 wraps."""
  if isinstance(value, int):
    value = np.uint32(value % 2**32)
  return xp.asarray(value).astype(np.uint32).reshape(1)
