"""Averages of weights over training, with a warm-up that makes the early ones plain means."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.base.keys import between
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
