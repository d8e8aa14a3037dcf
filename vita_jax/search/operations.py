"""The operations that a cell chooses from: DARTS's, and a plain convolution; all keep the shape.

    zero      nothing                          sep_3, sep_5   twice: ReLU, depthwise, 1x1, norm
    skip      the input                        dil_3          once, 3x3 with rate 2
    max_pool  3x3, norm                        conv_3         ReLU, plain 3x3, norm
    avg_pool  3x3 without padding, norm

Convolutions have no bias; while a search runs, norms have neither scale nor shift (`affine` False), which a
mixture could not tell from its weights.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.choose import choose
from vita_jax.nn.conv import Conv, convolve
from vita_jax.nn.norm import normalize_in_training
from vita_jax.nn.pool import max_pool_padded

WEIGHTLESS = ("skip", "max_pool", "avg_pool")  # and zero, which stands where no edge is kept
OPERATIONS = ("zero", "skip", "max_pool", "avg_pool", "sep_3", "sep_5", "dil_3", "conv_3")
DEPTHWISE_SEPARABLE = {"sep_3": (3, 1, 2), "sep_5": (5, 1, 2), "dil_3": (3, 2, 1)}  # kernel, rate, how often
he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class Norm(nn.Module):
  """Batch norm x [n, h, w, c] -> the same, with or without scale and shift; see `vita_jax.nn.norm.BatchNorm`.

  Collection `batch_stats`: `mean` and `var` [c], which move in training; a program that does not ask for them
  (`mutable`) has none.
  """

  affine: bool = True
  momentum: float = 0.9
  epsilon: float = 1e-5

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    width = (x.shape[-1],)
    mean = self.variable("batch_stats", "mean", jnp.zeros, width)
    var = self.variable("batch_stats", "var", jnp.ones, width)
    if train:
      y, moved = normalize_in_training(x, (mean.value, var.value), self.epsilon, self.momentum)
      if not self.is_initializing():
        mean.value, var.value = moved
    else:
      y = (x - mean.value) * jax.lax.rsqrt(var.value + self.epsilon)
    if self.affine:
      y = y * self.param("scale", nn.initializers.ones, width)
      y = y + self.param("bias", nn.initializers.zeros, width)
    return y.astype(x.dtype)


class Operation(nn.Module):
  """One operation: x [n, h, w, c] -> the same shape.

  Attributes:
    kind: of `OPERATIONS`.
    affine: whether norms have scale and shift.
    form: of convolutions, see `vita_jax.nn.conv`.
  """

  kind: str
  affine: bool = True
  form: str = "loop"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    kind = choose("operation", self.kind, OPERATIONS)
    if kind in ("zero", "skip"):
      return x if kind == "skip" else jnp.zeros_like(x)
    if kind in ("max_pool", "avg_pool"):
      pooled = max_pool_padded(x, stride=1) if kind == "max_pool" else mean_of_neighbours(x)
      return Norm(self.affine)(pooled, train=train)
    features = x.shape[-1]
    conv = functools.partial(Conv, features, use_bias=False, kernel_init=he_normal, form=self.form)
    if kind == "conv_3":
      return Norm(self.affine)(conv(3, padding=1)(nn.relu(x)), train=train)
    size, rate, times = DEPTHWISE_SEPARABLE[kind]
    for _ in range(times):
      x = nn.relu(x)
      x = Depthwise(size, rate, self.form)(x)
      x = Norm(self.affine)(conv(1)(x), train=train)
    return x


class Depthwise(nn.Module):
  """Depthwise convolution without bias, `kernel` [size, size, 1, c]; it keeps the maps' size."""

  size: int
  rate: int = 1
  form: str = "loop"

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    kernel = self.param("kernel", he_normal, (self.size, self.size, 1, x.shape[-1]))
    return convolve(
      x,
      jnp.asarray(kernel, x.dtype),
      padding=self.rate * (self.size // 2),
      dilation=self.rate,
      groups=x.shape[-1],
      form=self.form,
    )


def mean_of_neighbours(x: jax.Array) -> jax.Array:
  """Takes means over windows of 3 x 3, stride 1: [n, h, w, c] -> the same; places outside do not count."""
  for axis in (1, 2):
    length = x.shape[axis]
    padded = jnp.pad(x, [(1, 1) if i == axis else (0, 0) for i in range(x.ndim)])
    parts = [jax.lax.slice_in_dim(padded, i, i + length, axis=axis) for i in range(3)]
    places = np.arange(length)
    count = 1 + (places > 0) + (places < length - 1)
    shape = [length if i == axis else 1 for i in range(x.ndim)]
    x = functools.reduce(jnp.add, parts) / jnp.asarray(count.reshape(shape), x.dtype)
  return x


def operation_macs(kind: str, channels: int, places: int) -> int:
  """Counts the multiply-adds of the convolutions of an operation on so many channels and places.

  Examples:
    >>> operation_macs("sep_3", 8, 1), operation_macs("conv_3", 8, 1)
    (272, 576)
  """
  choose("operation", kind, OPERATIONS)
  if kind == "conv_3":
    return 9 * channels**2 * places
  if kind not in DEPTHWISE_SEPARABLE:
    return 0
  size, _, times = DEPTHWISE_SEPARABLE[kind]
  return times * (size**2 * channels + channels**2) * places


def operation_parameters(kind: str, channels: int) -> int:
  """Counts the parameters of an operation with affine norms."""
  weights = operation_macs(kind, channels, 1)
  norms = {"zero": 0, "skip": 0}.get(kind, DEPTHWISE_SEPARABLE.get(kind, (0, 0, 1))[2])
  return math.prod((2, channels, norms)) + weights


def weightless_share(cells: Any) -> float:
  """Computes which share of the edges that cells keep have no weights: 1 is a collapsed search.

  Args:
    cells: int [..., edges] of `OPERATIONS`, 0 where none is kept.

  Examples:
    >>> weightless_share(np.array([1, 0, 4, 3]))
    0.6666666666666666
  """
  kept = np.asarray(cells) > 0
  plain = np.isin(cells, [OPERATIONS.index(name) for name in WEIGHTLESS])
  return float((plain & kept).sum() / max(kept.sum(), 1))
