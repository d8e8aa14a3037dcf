"""Dropout with an explicit key, spending as few random bits as the rate allows."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from vita_jax.nn.sparse import Sparse


def dropout(key: jax.Array | None, x: jax.Array, rate: float) -> jax.Array:
  """Zeroes each entry of x with probability `rate` and scales the others by 1 / (1 - rate).

  Args:
    key: a PRNG key; None = identity (evaluation).  The same key gives the same mask.
    x: any shape, floating.
    rate: a Python number in [0, 1).

  Raises:
    ValueError: a rate outside [0, 1).
  """
  if not 0 <= rate < 1:
    raise ValueError(f"dropout rate must be in [0, 1), got {rate}")
  if key is None or rate == 0:
    return x
  keep = _keep_mask(key, x.shape, rate)
  return jnp.where(keep, x / (1 - rate), 0).astype(x.dtype)


def dropout_sparse(key: jax.Array | None, a: Sparse, rate: float) -> Sparse:
  """Does the same to the entries of a sparse matrix; its zeros stay what they are.

  Args:
    key: see `dropout`.
    a: from `nn.sparse.from_scipy(..., ordered=True)`.
    rate: see `dropout`.

  Raises:
    ValueError: a rate outside [0, 1), or a matrix without `order`.
  """
  if a.order is None:
    raise ValueError("this sparse matrix has no order of its transpose: from_scipy(..., ordered=True)")
  values = dropout(key, a.matrix.values, rate)
  transpose = a.transpose._replace(values=values[a.order])
  return a._replace(matrix=a.matrix._replace(values=values), transpose=transpose)


def _keep_mask(key: jax.Array, shape: tuple[int, ...], rate: float) -> jax.Array:
  bits = next((b for b in (1, 2, 4, 8) if float(rate * 2**b).is_integer()), None)
  if bits is None:
    return jax.random.bernoulli(key, 1 - rate, shape)
  # A rate of k / 2^bits is exact on `bits` random bits, so one 32-bit word serves several entries.
  size, fields = math.prod(shape), 32 // bits
  words = jax.random.bits(key, (-(-size // fields),), jnp.uint32)
  shifts = jnp.arange(0, 32, bits, dtype=jnp.uint32)
  drawn = (words[:, None] >> shifts) & jnp.uint32(2**bits - 1)
  return (drawn >= jnp.uint32(rate * 2**bits)).ravel()[:size].reshape(shape)
