"""The networks: encoder f_d, utility head f_T, and the ensemble of adversaries f_b.

The encoder's last layer is normalised without trained scale (a batch's statistics in training, fixed ones
after it), or it could hide content at a scale that gradients do not see and a standardising attacker does.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.nn.hash_dropout import hash_dropout

EPSILON = 1e-5


class MLP(nn.Module):
  """float [..., d] -> float32 [..., outputs]; ReLU between layers, He-normal weights, zero biases.

  `dropout`: share of the hidden units that a call with a key zeroes, in each row anew.
  With `layer_norm` the inputs of the last layer are normalised; `last_bias` is for outputs that are not
  normalised, which a bias does not change (Adam would walk it at random on gradients of rounding errors).
  """

  widths: Sequence[int]
  outputs: int
  layer_norm: bool = False
  last_bias: bool = True
  dropout: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, key=None):
    options = {"kernel_init": nn.initializers.he_normal(), "dtype": self.dtype}
    for layer, width in enumerate(self.widths):
      x = nn.relu(nn.Dense(width, **options)(x))
      if key is not None:
        x = hash_dropout(jax.random.fold_in(key, layer), x, self.dropout)
    if self.layer_norm:
      x = nn.LayerNorm(dtype=self.dtype)(x)
    return nn.Dense(self.outputs, use_bias=self.last_bias, **options)(x).astype(jnp.float32)


class Moments(NamedTuple):
  """Mean and variance of the encoder's outputs, float32 [m] each."""

  mean: jax.Array
  variance: jax.Array


def moments(h: jax.Array) -> Moments:
  """Computes the moments of a batch [n, m]."""
  return Moments(jnp.mean(h, axis=0), jnp.var(h, axis=0))


def normalize(h: jax.Array, by: Moments) -> jax.Array:
  """Computes z = (h - mean) / sqrt(variance + 1e-5), float32 [n, m]."""
  return (h - by.mean) * jax.lax.rsqrt(by.variance + EPSILON)


class Ensemble(NamedTuple):
  """M adversaries for each of K attributes: `groups` are (module, how many of it), widths unlike.

  Parameters are a tuple over groups of trees with leading axes [how many, K]: equal shapes are stacked.
  """

  groups: tuple[tuple[MLP, int], ...]
  n_attributes: int

  @property
  def size(self) -> int:
    """M, the number of adversaries of each attribute."""
    return sum(n for _, n in self.groups)

  def init(self, key: jax.Array, n_inputs: int) -> tuple[Any, ...]:
    """Draws fresh parameters; every model of every attribute has a key of its own."""
    z = jnp.zeros((1, n_inputs))

    def group(number, module, n):
      keys = jax.random.split(jax.random.fold_in(key, number), (n, self.n_attributes))
      return jax.vmap(jax.vmap(lambda k: module.init(k, z)["params"]))(keys)

    return tuple(group(i, module, n) for i, (module, n) in enumerate(self.groups))

  def apply(self, params: tuple[Any, ...], z: jax.Array) -> jax.Array:
    """Computes logits float32 [M, K, B, C] from z [B, m]."""
    each = []
    for (module, n), stacked in zip(self.groups, params, strict=True):
      one = functools.partial(_logits, module, z)
      if n == self.n_attributes == 1:  # a batched product of one costs a CPU more than a plain one
        each.append(one(jax.tree.map(lambda x: x[0, 0], stacked))[None, None])
      else:
        each.append(jax.vmap(jax.vmap(one))(stacked))
    return jnp.concatenate(each, axis=0)


def run(module: MLP, params: Any, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
  """Applies a network, float32 [..., outputs]; `key`: of dropout, in training."""
  return cast(jax.Array, module.apply({"params": params}, x, key))


def _logits(module: MLP, z: jax.Array, params: Any) -> jax.Array:
  return run(module, params, z)


def make_ensemble(widths: Sequence[Sequence[int]], *, n_attributes: int, n_classes: int) -> Ensemble:
  """Makes an adversary per entry of `widths` for each attribute; the deepest, if deep, has a layer norm.

  Args:
    widths: hidden widths of each adversary, () for a linear one.
    n_attributes: K.
    n_classes: C, of the attribute with the most.
  """
  counted: dict[tuple[int, ...], int] = {}
  for one in widths:
    counted[tuple(one)] = counted.get(tuple(one), 0) + 1
  deepest = max(counted, key=lambda w: (len(w), sum(w)))
  groups = tuple((MLP(w, n_classes, layer_norm=len(w) > 1 and w == deepest), n) for w, n in counted.items())
  return Ensemble(groups, n_attributes)
