"""Resizing images inside a program: nearest and bilinear, place for place as torch does it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.choose import choose

METHODS = ("nearest", "bilinear")


def resize(
  x: jax.Array, size: tuple[int, int], *, method: str = "bilinear", align_corners: bool = False
) -> jax.Array:
  """Resizes x [n, h, w, c] to [n, *size, c], as `torch.nn.functional.interpolate` (no antialiasing).

  Place i of the output is taken at (i + 1/2) * h / size - 1/2 of the input, and clipped there; with
  `align_corners` at i * (h - 1) / (size - 1). Nearest takes floor(i * h / size).

  Args:
    x: floating for bilinear; any dtype for nearest.
    size: (height, width).
    method: "nearest" | "bilinear".
    align_corners: bilinear only.

  Raises:
    ValueError: an unknown method, a size below 1, or `align_corners` with nearest.
  """
  choose("method", method, METHODS)
  if len(size) != 2 or min(size) < 1:
    raise ValueError(f"size is {size}: it must be (height, width), both at least 1")
  if method == "nearest":
    if align_corners:
      raise ValueError("align_corners is for method='bilinear'")
    return _nearest(_nearest(x, 1, size[0]), 2, size[1])
  dtype = jnp.promote_types(x.dtype, jnp.float32)
  rows, columns = (_weights(x.shape[i + 1], size[i], align_corners).astype(dtype) for i in (0, 1))
  # A product, not a gather: the gradient of a gather is a scatter, which is slow. The weights of a place sum
  # to 1 only at full precision (on GPUs a float32 product may round its inputs to 10 bits).
  highest = jax.lax.Precision.HIGHEST
  y = jnp.einsum("nhwc,Hh->nHwc", x.astype(dtype), rows, precision=highest)
  return jnp.einsum("nhwc,Ww->nhWc", y, columns, precision=highest).astype(x.dtype)


def _nearest(x: jax.Array, axis: int, size: int) -> jax.Array:
  length = x.shape[axis]
  if size % length == 0:  # repeated whole places: their gradient is a sum
    return jnp.repeat(x, size // length, axis=axis, total_repeat_length=size)
  if length % size == 0:
    return jax.lax.slice_in_dim(x, 0, length, length // size, axis)
  places = np.floor(np.arange(size, dtype=np.float32) * np.float32(length / size)).astype(np.int32)
  return jnp.take(x, np.minimum(places, length - 1), axis=axis)


def _weights(length: int, size: int, align_corners: bool) -> np.ndarray:
  """float64 [size, length]: how much of each place of the input an output place is."""
  if align_corners:
    places = np.arange(size) * ((length - 1) / (size - 1) if size > 1 else 0.0)
  else:
    places = np.maximum((np.arange(size) + 0.5) * (length / size) - 0.5, 0.0)
  low = np.minimum(np.floor(places).astype(int), length - 1)
  high, part = np.minimum(low + 1, length - 1), places - low
  weights = np.zeros((size, length))
  np.add.at(weights, (np.arange(size), low), 1.0 - part)
  np.add.at(weights, (np.arange(size), high), part)
  return weights
