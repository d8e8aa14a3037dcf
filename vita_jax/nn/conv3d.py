"""3-D convolution and pooling, in the form that is fast where it runs (see `conv.py`)."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp


def conv3d(x: jax.Array, w: jax.Array, *, padding: int = 0) -> jax.Array:
  """x [n, d, h, w, inputs] with w [k, k, k, inputs, outputs] -> [n, d', h', w', outputs], stride 1.

  `padding` zeros go on every side. On the CPU one matrix product over the k^3 shifted volumes.
  """
  x = jnp.pad(x, ((0, 0), *[(padding, padding)] * 3, (0, 0)))
  return jax.lax.platform_dependent(x, w, cpu=patches_conv3d, default=library_conv3d)


def library_conv3d(x: jax.Array, w: jax.Array) -> jax.Array:
  """`conv3d` without padding by `jax.lax.conv_general_dilated`."""
  numbers = ("NDHWC", "DHWIO", "NDHWC")
  return jax.lax.conv_general_dilated(x, w, (1, 1, 1), "VALID", dimension_numbers=numbers)


def patches_conv3d(x: jax.Array, w: jax.Array) -> jax.Array:
  """`conv3d` without padding as one matrix product over shifted volumes."""
  size = w.shape[0]
  shape = [length - size + 1 for length in x.shape[1:4]]
  places = itertools.product(range(size), repeat=3)
  shifts = [x[:, i : i + shape[0], j : j + shape[1], k : k + shape[2]] for i, j, k in places]
  return jnp.concatenate(shifts, axis=-1) @ w.reshape(-1, w.shape[-1])


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
