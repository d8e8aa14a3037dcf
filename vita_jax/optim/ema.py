"""Averages of weights: over training, of which the early ones are plain means, and of two networks."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.base.keys import between
from vita_jax.base.tree import named_leaves
from vita_jax.optim.leaves import check_number

Tree = Any


def ema_decay(count: jax.Array, *, max_decay: float = 0.999) -> jax.Array:
  """Computes a_k = min(1 - 1/(k + 1), max_decay), float32, for update number k = `count`, counted from 0.

  Raises:
    ValueError: `max_decay` outside [0, 1].
  """
  check_number("max_decay", max_decay, between(0, 1))
  return jnp.minimum(1.0 - 1.0 / (count + 1.0), max_decay).astype(jnp.float32)


def ema_update(average: Tree, new: Tree, count: jax.Array, *, max_decay: float = 0.999) -> Tree:
  """Computes a_k average + (1 - a_k) new, leafwise.

  Until a_k reaches `max_decay` the average is the arithmetic mean of what was given so far: the start
  value has no part in it. `count` int32 scalar is the number of updates before this one. Raises as
  `ema_decay` does.
  """
  decay = ema_decay(count, max_decay=max_decay)
  return jax.tree.map(lambda a, x: (decay * a + (1.0 - decay) * x).astype(a.dtype), average, new)


def interpolate_weights(a: Tree, b: Tree, alpha: Any) -> Tree:
  """Computes (1 - alpha) a + alpha b, leafwise, in float32; the dtypes are those of a.

  With a the weights before fine-tuning and b those after it is WiSE-FT (Wortsman et al., CVPR 2022).

  Args:
    a: a tree of floating arrays.
    b: one like it.
    alpha: 0 to 1; may be traced.

  Raises:
    ValueError: trees, shapes or kinds of numbers that do not fit, or alpha outside [0, 1].

  Examples:
    >>> interpolate_weights({"w": jnp.array([0.0])}, {"w": jnp.array([4.0])}, 0.25)["w"].tolist()
    [1.0]
  """
  check_number("alpha", alpha, between(0, 1))
  names, others = named_leaves(a), named_leaves(b)
  if odd := set(names) ^ set(others):
    raise ValueError(f"the two trees of weights differ: only one has '{min(odd)}'")
  for name, x in names.items():
    if jnp.shape(x) != jnp.shape(others[name]):
      raise ValueError(
        f"'{name}' has shape {jnp.shape(x)} in one tree and {jnp.shape(others[name])} in the other"
      )
    if not jnp.issubdtype(jnp.result_type(x), jnp.floating):
      raise ValueError(
        f"'{name}' is of {jnp.result_type(x)}: only floating weights have a point between them"
      )
  return jax.tree.map(functools.partial(_between, jnp.asarray(alpha, jnp.float32)), a, b)


def _between(alpha: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
  x, y = jnp.asarray(x), jnp.asarray(y)
  mixed = (1 - alpha) * x.astype(jnp.float32) + alpha * y.astype(jnp.float32)
  return mixed.astype(x.dtype)
