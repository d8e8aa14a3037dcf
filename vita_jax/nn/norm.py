"""Normalisation of batches and of images, in the convention of torch."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class BatchNorm(nn.Module):
  """x [n, ..., c] -> the same: normalised over all axes but the last, then scaled and shifted.

  In training by the batch's own mean and (biased) variance; the running statistics, collection
  `batch_stats`, move by 1 - momentum towards its mean and unbiased variance. Else by the running ones.
  Statistics are float32 (float64 for such inputs). Parameters `scale` and `bias` float32 [c].
  """

  momentum: float = 0.9
  epsilon: float = 1e-5

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool, mask: jax.Array | None = None) -> jax.Array:
    """`mask` [n]: rows of 0 (padding) are left out of the statistics."""
    width = (x.shape[-1],)
    scale = self.param("scale", nn.initializers.ones, width)
    bias = self.param("bias", nn.initializers.zeros, width)
    running_mean = self.variable("batch_stats", "mean", jnp.zeros, width)
    running_var = self.variable("batch_stats", "var", jnp.ones, width)
    if train:
      mean, var, count = _moments(x.astype(jnp.promote_types(x.dtype, jnp.float32)), mask)
      if not self.is_initializing():
        unbiased = var * (count / jnp.maximum(count - 1.0, 1.0))
        for running, new in ((running_mean, mean), (running_var, unbiased)):
          running.value = self.momentum * running.value + (1.0 - self.momentum) * new
    else:
      mean, var = running_mean.value, running_var.value
    factor = scale * jax.lax.rsqrt(var + self.epsilon)
    return ((x - mean) * factor + bias).astype(x.dtype)


def normalize_in_training(
  x: jax.Array, running: tuple[jax.Array, jax.Array], epsilon: float, momentum: float
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  """Normalises x [n, ..., c] by its own statistics, as `BatchNorm` does in training, before scale and shift.

  Returns:
    (x - mean) / sqrt(var + epsilon), float32 at least, and the running mean and variance [c] afterwards.
  """
  x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  mean, var, count = _moments(x, None)
  unbiased = var * (count / max(count - 1.0, 1.0))
  moved = tuple(momentum * a + (1.0 - momentum) * b for a, b in zip(running, (mean, unbiased), strict=True))
  return (x - mean) * jax.lax.rsqrt(var + epsilon), (moved[0], moved[1])


def batch_norm(x: jax.Array, scale: jax.Array, offset: jax.Array, *, epsilon: float = 1e-3) -> jax.Array:
  """Normalises every channel by the batch's own mean and variance: x [..., c], scale and offset [c]."""
  axes = range(x.ndim - 1)
  mean, variance = jnp.mean(x, axis=axes), jnp.var(x, axis=axes)
  return (x - mean) * (scale * jax.lax.rsqrt(variance + epsilon)) + offset


def _moments(x: jax.Array, mask: jax.Array | None) -> tuple[jax.Array, jax.Array, Any]:
  """Mean and biased variance [c] of x [n, ..., c], and over how many values."""
  axes = tuple(range(x.ndim - 1))
  if mask is None:
    return jnp.mean(x, axes), jnp.var(x, axes), float(math.prod(x.shape[:-1]))
  weights = mask.astype(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
  count = jnp.maximum(jnp.sum(weights), 1.0) * math.prod(x.shape[1:-1])
  mean = jnp.sum(weights * x, axes) / count
  return mean, jnp.sum(weights * jnp.square(x - mean), axes) / count, count


class InstanceNorm(nn.Module):
  """x [n, *spatial, c] -> the same: every channel of every image normalised over its places.

  By its own mean and (biased) variance, in training and evaluation alike; statistics are float32 (float64 for
  such inputs). `affine` adds the parameters `scale` and `bias`, float32 [c]; torch's default has none.

  Raises:
    ValueError: no spatial axis, or a single place, whose variance says nothing.
  """

  affine: bool = False
  epsilon: float = 1e-5

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    y = standardized(x, epsilon=self.epsilon)
    if self.affine:
      y = y * self.param("scale", nn.initializers.ones, x.shape[-1:])
      y = y + self.param("bias", nn.initializers.zeros, x.shape[-1:])
    return y.astype(x.dtype)


def standardized(x: jax.Array, *, epsilon: float = 1e-5) -> jax.Array:
  """Gives every channel of every image mean 0 and variance 1: (x - mean) / sqrt(var + epsilon).

  Args:
    x: [n, *spatial, c].
    epsilon: is added to the (biased) variance.

  Returns:
    The same shape, float32 (float64 for such inputs).

  Raises:
    ValueError: no spatial axis, or a single place, whose variance says nothing.
  """
  axes = tuple(range(1, x.ndim - 1))
  if math.prod(x.shape[1:-1]) < 2 or not axes:
    raise ValueError(f"InstanceNorm needs more than one place in each image, x is {x.shape}")
  h = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  mean, var = jnp.mean(h, axes, keepdims=True), jnp.var(h, axes, keepdims=True)
  return (h - mean) * jax.lax.rsqrt(var + epsilon)
