"""The networks of Self-PU, one logit per row, and how they are applied to rows as they are stored.

All modules have `__call__(x, *, train, mask=None) -> logits float32 [n]`, positive for the positive class;
`train` normalises by the batch (rows with `mask` 0 left out) and moves the running statistics in the
collection `batch_stats`. `dtype` is the type computed in; parameters are float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.nn.conv import convolve
from vita_jax.nn.norm import BatchNorm
from vita_jax.nn.volumes import ThreeBranchCNN
from vita_jax.papers.self_pu.recipe import Recipe

kaiming_normal = nn.initializers.variance_scaling(2.0, "fan_in", "normal")


class MLP(nn.Module):
  """Four hidden layers of 300 without biases, each with batch norm and ReLU, then one logit.

  x [n, ...] is flattened. 507,901 parameters on 784 inputs ("6-layer MLP", the paper's for MNIST).
  """

  hidden: tuple[int, ...] = (300, 300, 300, 300)
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool, mask: jax.Array | None = None) -> jax.Array:
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
  def __call__(self, x: jax.Array, *, train: bool, mask: jax.Array | None = None) -> jax.Array:
    h = x.astype(self.dtype)
    for i, (size, stride, width) in enumerate(self.convolutions):
      kernel = self.param(f"conv_{i}_kernel", kaiming_normal, (size, size, h.shape[-1], width))
      bias = self.param(f"conv_{i}_bias", nn.initializers.zeros, (width,))
      pad = (size - 1) // 2
      padded = jnp.pad(h, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
      h = convolve(padded, kernel.astype(self.dtype), stride=stride) + bias.astype(self.dtype)
      h = nn.relu(BatchNorm()(h, train=train, mask=mask))
    h = h.reshape(h.shape[0], -1)
    for width in self.dense:
      h = nn.relu(nn.Dense(width, kernel_init=kaiming_normal, dtype=self.dtype)(h))
    return _logit(h, kaiming_normal, self.dtype)


def make_model(recipe: Recipe) -> nn.Module:
  """Builds the module that `config.model` describes."""
  dtype = jnp.dtype(recipe.dtype)
  if recipe.model == "mlp":
    return MLP(hidden=recipe.hidden, dtype=dtype)
  return CNN(dtype=dtype) if recipe.model == "cnn" else ThreeBranchCNN(dtype=dtype)


class Network(NamedTuple):
  """A module that is applied to rows as they are stored.

  Attributes:
    forward: `(params, stats, x, mask=None) -> (logits [n], new stats)` in training mode.
    logits: `(params, stats, x) -> [n]` in evaluation mode.
  """

  forward: Callable
  logits: Callable


def make_network(model: nn.Module, prepare: Callable[[Any], Any]) -> Network:
  """Builds the network of a module whose inputs are `prepare(stored rows)`."""
  return Network(partial(_forward, model, prepare), partial(_evaluated, model, prepare))


def _forward(
  model: nn.Module, prepare: Callable, params: Any, stats: Any, x: Any, mask: jax.Array | None = None
) -> tuple[jax.Array, Any]:
  variables = {"params": params, "batch_stats": stats}
  logits, new = model.apply(variables, prepare(x), train=True, mask=mask, mutable=["batch_stats"])
  return logits, new["batch_stats"]


def _evaluated(model: nn.Module, prepare: Callable, params: Any, stats: Any, x: Any) -> Any:
  return model.apply({"params": params, "batch_stats": stats}, prepare(x), train=False)


def _logit(h: jax.Array, kernel_init: Any, dtype: Any) -> jax.Array:
  logit = nn.Dense(1, kernel_init=kernel_init, dtype=dtype)(h)[:, 0]
  return logit.astype(jnp.promote_types(dtype, jnp.float32))
