"""A convolution and its batch norm as one layer: folded into one when the statistics do not move."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.nn.conv import Padding, Sizes, convolve
from vita_jax.nn.linear import uniform_fan_in
from vita_jax.nn.norm import normalize_in_training


class ConvNorm(nn.Module):
  """Convolution without bias, then batch norm: x [n, *spatial, inputs] -> [n, *places, features].

  Without `train` the norm takes the running statistics, which stay as they are, and its scale and shift are
  trained like the kernel: the layer computes convolve(x, kernel f) + bias - mean f, f = scale / sqrt(var +
  epsilon). That is the same function with the same gradients, but no pass over the maps for the norm, and
  nothing of them is kept for its gradient.

  Parameters, float32: `kernel` [*kernel, inputs / groups, features], `scale` and `bias` [features];
  collection `batch_stats`: `mean` and `var` [features].

  Attributes:
    features, kernel_size, stride, padding, groups, form: as in `vita_jax.nn.conv.Conv`.
    epsilon: of the norm.
    momentum: of the running statistics, which move only in training.
    kernel_init: default: torch's, uniform.
  """

  features: int
  kernel_size: int
  stride: Sizes = 1
  padding: Padding = 0
  groups: int = 1
  epsilon: float = 1e-5
  momentum: float = 0.9
  kernel_init: Callable[..., jax.Array] | None = None
  form: str = "loop"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
    """`train`: by the batch's own statistics, as `vita_jax.nn.norm.BatchNorm`."""
    size = (self.kernel_size,) * (x.ndim - 2)
    inputs = x.shape[-1] // self.groups
    draw = self.kernel_init or uniform_fan_in(inputs * math.prod(size))
    kernel = self.param("kernel", draw, (*size, inputs, self.features))
    scale = self.param("scale", nn.initializers.ones, (self.features,))
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    mean = self.variable("batch_stats", "mean", jnp.zeros, (self.features,))
    var = self.variable("batch_stats", "var", jnp.ones, (self.features,))
    if train:
      y = self._convolve(x, kernel)
      y, moved = normalize_in_training(y, (mean.value, var.value), self.epsilon, self.momentum)
      if not self.is_initializing():
        mean.value, var.value = moved
      return (y * scale + bias).astype(x.dtype)
    factor = scale * jax.lax.rsqrt(var.value + self.epsilon)
    folded = self._convolve(x, scale_outputs(kernel, factor))
    return folded + (bias - mean.value * factor).astype(x.dtype)

  def _convolve(self, x: jax.Array, kernel: Any) -> jax.Array:
    return convolve(
      x,
      kernel.astype(x.dtype),
      stride=self.stride,
      padding=self.padding,
      groups=self.groups,
      form=self.form,
    )


def scale_outputs(kernel: jax.Array, factor: jax.Array) -> jax.Array:
  """Multiplies each of the last axis of a kernel [*kernel, inputs, outputs] by its factor [outputs].

  As a matrix: for the gradient in the factors XLA sums products along one axis of four, and on the CPU
  (jaxlib 0.10.2) that sum is slow.
  """
  return (kernel.reshape(-1, kernel.shape[-1]) * factor).reshape(kernel.shape)
