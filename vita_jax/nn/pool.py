"""Pooling of images and volumes: maxima and means over windows."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp


def max_pool(x: jax.Array, size: int) -> jax.Array:
  """Takes maxima over windows [size, size] without overlap: [n, height, width, c]; the rest is dropped."""
  n, height, width, channels = x.shape
  height, width = height // size, width // size
  x = x[:, : height * size, : width * size]
  return jnp.max(x.reshape(n, height, size, width, size, channels), axis=(2, 4))


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
