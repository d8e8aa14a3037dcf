"""The networks of Self-PU: one logit per row, positive for the positive class.

All have `__call__(x, *, train, mask=None) -> logits float32 [n]`; `train` normalises by the batch (rows with
`mask` 0 left out) and moves the running statistics in the collection `batch_stats`. `dtype` is the type
computed in; parameters are float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.base.choose import choose
from vita_jax.nn.conv import conv2d
from vita_jax.nn.conv3d import conv3d, max_pool3d
from vita_jax.nn.norm import BatchNorm

KINDS = ("mlp", "cnn", "volumes")
kaiming_normal = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
xavier_uniform = nn.initializers.xavier_uniform()


class MLP(nn.Module):
  """Four hidden layers of 300 without biases, each with batch norm and ReLU, then one logit.

  x [n, ...] is flattened. 507,901 parameters on 784 inputs ("6-layer MLP", the paper's for MNIST).
  """

  hidden: tuple[int, ...] = (300, 300, 300, 300)
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, *, train: bool, mask=None):
    h = x.reshape(x.shape[0], -1).astype(self.dtype)
    for width in self.hidden:
      h = nn.Dense(width, use_bias=False, kernel_init=kaiming_normal, dtype=self.dtype)(h)
      h = nn.relu(BatchNorm()(h, train=train, mask=mask))
    return _logit(h, kaiming_normal, self.dtype)


class CNN(nn.Module):
  """Nine convolutions with batch norm and ReLU, two dense layers of 1000 with ReLU, one logit.

  x [n, 32, 32, 3]. 3,015,255 parameters ("13-layer CNN", the paper's for CIFAR-10).
  """

  # (kernel size, stride, channels); every padding is (size - 1) / 2 on both sides, as torch pads
  convolutions: tuple[tuple[int, int, int], ...] = (
    (3, 1, 96),
    (3, 1, 96),
    (3, 2, 96),
    (3, 1, 192),
    (3, 1, 192),
    (3, 2, 192),
    (3, 1, 192),
    (1, 1, 192),
    (1, 1, 10),
  )
  dense: tuple[int, ...] = (1000, 1000)
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, *, train: bool, mask=None):
    h = x.astype(self.dtype)
    for i, (size, stride, width) in enumerate(self.convolutions):
      kernel = self.param(f"conv_{i}_kernel", kaiming_normal, (size, size, h.shape[-1], width))
      bias = self.param(f"conv_{i}_bias", nn.initializers.zeros, (width,))
      pad = (size - 1) // 2
      padded = jnp.pad(h, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
      h = conv2d(padded, kernel.astype(self.dtype), stride=stride) + bias.astype(self.dtype)
      h = nn.relu(BatchNorm()(h, train=train, mask=mask))
    h = h.reshape(h.shape[0], -1)
    for width in self.dense:
      h = nn.relu(nn.Dense(width, kernel_init=kaiming_normal, dtype=self.dtype)(h))
    return _logit(h, kaiming_normal, self.dtype)


class Branch(nn.Module):
  """One region of a volume: x [n, d, d, d, 1] -> [n, d/4 rounded up (three times), 32]; 14,400 parameters."""

  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, train: bool, mask):
    h = x.astype(self.dtype)
    for i, width in enumerate((16, 32)):
      kernel = self.param(f"conv_{i}_kernel", xavier_uniform, (3, 3, 3, h.shape[-1], width))
      bias = self.param(f"conv_{i}_bias", nn.initializers.zeros, (width,))
      h = conv3d(h, kernel.astype(self.dtype), padding=1) + bias.astype(self.dtype)
      h = max_pool3d(nn.relu(BatchNorm()(h, train=train, mask=mask)))
    return h


class ThreeBranchCNN(nn.Module):
  """A branch each for the whole brain and the two hippocampi, joined by a dense layer of 256, one logit.

  x: {"brain" [n, 50, 50, 50], "left", "right" [n, 30, 30, 30]}. 26,430,657 parameters (the paper's for ADNI).
  """

  hidden: int = 256
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Mapping[str, jax.Array], *, train: bool, mask=None):
    # A branch holds 8 MB of activations per volume and layer: it is computed again in the backward pass.
    branch = nn.remat(Branch, static_argnums=(2,))
    parts = [
      branch(self.dtype, name=name)(x[name][..., None], train, mask) for name in ("brain", "left", "right")
    ]
    h = jnp.concatenate([part.reshape(part.shape[0], -1) for part in parts], axis=-1)
    h = nn.Dense(self.hidden, kernel_init=xavier_uniform, dtype=self.dtype)(h)
    h = nn.relu(BatchNorm()(h, train=train, mask=mask))
    return _logit(h, xavier_uniform, self.dtype)


def make_model(config: Any) -> nn.Module:
  """The network that `config.model` describes.

  Raises:
    ValueError: an unknown kind.
  """
  choose("config.model.kind", config.model.kind, KINDS)
  dtype = jnp.dtype(config.dtype)
  if config.model.kind == "mlp":
    return MLP(hidden=tuple(config.model.hidden), dtype=dtype)
  return CNN(dtype=dtype) if config.model.kind == "cnn" else ThreeBranchCNN(dtype=dtype)


def _logit(h, kernel_init, dtype):
  logit = nn.Dense(1, kernel_init=kernel_init, dtype=dtype)(h)[:, 0]
  return logit.astype(jnp.promote_types(dtype, jnp.float32))
