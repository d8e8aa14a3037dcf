"""3-D convolution and pooling, in the form that is fast where it runs (see `conv.py`)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from vita_jax.nn.conv import convolve


def conv3d(x: jax.Array, w: jax.Array, *, padding: int = 0) -> jax.Array:
  """x [n, d, h, w, inputs] with w [k, k, k, inputs, outputs] -> [n, d', h', w', outputs], stride 1.

  `padding` zeros go on every side.
  """
  return convolve(x, w, padding=padding)


def max_pool3d(x: jax.Array, *, size: int = 3, stride: int = 2, padding: int = 1) -> jax.Array:
  """Maxima over windows [size]^3: [n, d, h, w, c] -> [n, d', h', w', c], one axis after the other.

  `padding` places on every side never win: d' = (d + 2 padding - size) // stride + 1.
  """
  for axis in (1, 2, 3):
    widths = [(padding, padding) if i == axis else (0, 0) for i in range(x.ndim)]
    padded = jnp.pad(x, widths, constant_values=-jnp.inf)
    count = (padded.shape[axis] - size) // stride + 1
    last = (count - 1) * stride + 1
    slices = [jax.lax.slice_in_dim(padded, i, i + last, stride, axis) for i in range(size)]
    x = functools.reduce(jnp.maximum, slices)
  return x
