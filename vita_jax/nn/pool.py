"""Pooling of images and volumes: maxima and means over windows."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np


def max_pool(x: jax.Array, size: int) -> jax.Array:
  """Takes maxima over windows [size, size] without overlap: [n, height, width, c]; the rest is dropped."""
  n, height, width, channels = x.shape
  height, width = height // size, width // size
  x = x[:, : height * size, : width * size]
  return jnp.max(x.reshape(n, height, size, width, size, channels), axis=(2, 4))


def max_pool_ceil(x: jax.Array, size: int = 2) -> jax.Array:
  """Takes maxima over windows [size, size] without overlap: [n, h, w, c] -> [n, ceil(h / size), ..., c].

  The last window of an axis may be cut (torch's `ceil_mode`).
  """
  pads = [(0, -length % size) for length in x.shape[1:3]]
  return max_pool(jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=-jnp.inf), size)


def adaptive_average_pool(x: jax.Array, size: int) -> jax.Array:
  """Takes means over windows, [size, size] of which cover any image: [n, h, w, c] -> [n, size, size, c].

  Window i of an axis of length L is from floor(i L / size) to ceil((i + 1) L / size), as torch has it:
  windows may overlap, and repeat where the image is smaller.
  """
  rows, columns = (jnp.asarray(_shares(length, size), x.dtype) for length in x.shape[1:3])
  return jnp.einsum("ih,jw,nhwc->nijc", rows, columns, x)


def _shares(length: int, size: int) -> np.ndarray:
  """[size, length]: the weight of each place in each window's mean."""
  found = np.zeros((size, length))
  for i in range(size):
    start, end = i * length // size, -(-(i + 1) * length // size)
    found[i, start:end] = 1 / (end - start)
  return found


def average_pool_same(x: jax.Array, size: int) -> jax.Array:
  """Takes means over windows [size, size], stride 1: [n, h, w, c] -> the same; padding is not counted."""
  window, strides = (1, size, size, 1), (1, 1, 1, 1)

  def total(x: jax.Array) -> jax.Array:
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, window, strides, "SAME")

  return total(x) / total(jnp.ones((1, *x.shape[1:3], 1), x.dtype))


def max_pool_padded(x: jax.Array, *, size: int = 3, stride: int = 2, padding: int = 1) -> jax.Array:
  """Takes maxima over windows [size, ...]: [n, *spatial, c] -> [n, *places, c], axis after axis.

  `padding` places on every side never win: places = (length + 2 padding - size) // stride + 1.
  """
  for axis in range(1, x.ndim - 1):
    widths = [(padding, padding) if i == axis else (0, 0) for i in range(x.ndim)]
    padded = jnp.pad(x, widths, constant_values=-jnp.inf)
    count = (padded.shape[axis] - size) // stride + 1
    last = (count - 1) * stride + 1
    slices = [jax.lax.slice_in_dim(padded, i, i + last, stride, axis) for i in range(size)]
    x = functools.reduce(jnp.maximum, slices)
  return x
