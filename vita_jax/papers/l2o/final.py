"""Whole optimizations with a finished optimizer, and the numbers that are reported of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

FLOOR = 1e-12  # inside the logarithm: on small data the loss reaches exactly zero


def optimize(
  tx: optax.GradientTransformation,
  loss: Callable[[Any, jax.Array], jax.Array],
  x: Any,
  key: jax.Array,
  *,
  steps: int,
) -> tuple[Any, jax.Array]:
  """(x after `steps` steps, losses float32 [steps]): the loss after every step on a fresh minibatch, which
  then also gives the next step's gradient."""

  def step(carry, key):
    x, state, gradient = carry
    delta, state = tx.update(gradient, state, x)
    x = optax.apply_updates(x, delta)
    value, gradient = jax.value_and_grad(loss)(x, key)
    return (x, state, gradient), value

  keys = jax.random.split(key, steps + 1)
  first = jax.grad(loss)(x, keys[0])
  (x, _, _), losses = jax.lax.scan(step, (x, tx.init(x), first), keys[1:])
  return x, losses


def late_log_loss(losses: jax.Array, *, window: int = 100) -> jax.Array:
  """Mean of ln(loss + 1e-12) over the last `window` steps: losses [..., steps] -> [...]; NaN if any is."""
  return jnp.mean(jnp.log(losses[..., -window:] + FLOOR), axis=-1)
