"""Convolution in the form that is fast where it runs, and its companions, as pure functions."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def conv2d(x: jax.Array, w: jax.Array, *, stride: int = 1, padding: str = "VALID") -> jax.Array:
  """2-D convolution: x [n, h, w, inputs] with w [k, k, inputs, outputs] -> [n, h', w', outputs].

  On the CPU it is one matrix product over the k^2 shifted images, whose backward pass is fast inside
  loops, too; elsewhere `lax.conv`. Both give the same numbers up to rounding.

  Args:
    x, w: of one float dtype.
    stride: of both axes.
    padding: "VALID" | "SAME".

  Raises:
    ValueError: unknown padding.
  """
  if padding not in ("VALID", "SAME"):
    raise ValueError(f"padding is '{padding}': choose 'VALID' or 'SAME'")
  default = lambda x, w: library_conv2d(x, w, stride=stride, padding=padding)  # noqa: E731
  cpu = lambda x, w: patches_conv2d(x, w, stride=stride, padding=padding)  # noqa: E731
  return jax.lax.platform_dependent(x, w, cpu=cpu, default=default)


def library_conv2d(x: jax.Array, w: jax.Array, *, stride: int = 1, padding: str = "VALID") -> jax.Array:
  """`conv2d` by `jax.lax.conv_general_dilated`."""
  numbers = ("NHWC", "HWIO", "NHWC")
  return jax.lax.conv_general_dilated(x, w, (stride, stride), padding, dimension_numbers=numbers)


def patches_conv2d(x: jax.Array, w: jax.Array, *, stride: int = 1, padding: str = "VALID") -> jax.Array:
  """`conv2d` as one matrix product over shifted images."""
  size = w.shape[0]
  if padding == "SAME":
    x = jnp.pad(x, ((0, 0), *(_same(length, size, stride) for length in x.shape[1:3]), (0, 0)))
  height, width = ((length - size) // stride + 1 for length in x.shape[1:3])
  rows = lambda i, n: slice(i, i + (n - 1) * stride + 1, stride)  # noqa: E731
  shifts = [x[:, rows(i, height), rows(j, width)] for i in range(size) for j in range(size)]
  return jnp.concatenate(shifts, axis=-1) @ w.reshape(-1, w.shape[-1])


def max_pool(x: jax.Array, size: int) -> jax.Array:
  """Maxima over windows [size, size] without overlap: [n, height, width, c]; what is left over is dropped."""
  n, height, width, channels = x.shape
  height, width = height // size, width // size
  x = x[:, : height * size, : width * size]
  return jnp.max(x.reshape(n, height, size, width, size, channels), axis=(2, 4))


def average_pool_same(x: jax.Array, size: int) -> jax.Array:
  """Means over windows [size, size], stride 1: [n, h, w, c] -> the same; padding is not counted."""
  window, strides = (1, size, size, 1), (1, 1, 1, 1)
  total = lambda x: jax.lax.reduce_window(x, 0.0, jax.lax.add, window, strides, "SAME")  # noqa: E731
  return total(x) / total(jnp.ones((1, *x.shape[1:3], 1), x.dtype))


def batch_norm(x: jax.Array, scale: jax.Array, offset: jax.Array, *, epsilon: float = 1e-3) -> jax.Array:
  """Normalises every channel by the batch's own mean and variance: x [..., c], scale and offset [c]."""
  axes = range(x.ndim - 1)
  mean, variance = jnp.mean(x, axis=axes), jnp.var(x, axis=axes)
  return (x - mean) * (scale * jax.lax.rsqrt(variance + epsilon)) + offset


def _same(length: int, size: int, stride: int) -> tuple[int, int]:
  total = max((-(-length // stride) - 1) * stride + size - length, 0)
  return total // 2, total - total // 2
