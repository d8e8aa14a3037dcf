"""One step of masked fine-tuning: Adam, a clipped gradient, linear decay, and a mask at next to no cost.

Pruned weights are stored as zeros, so that the forward pass needs no mask; zeroing their gradients (before
the clipping) keeps them so, with zero moments: the same as m * w in the loss, for one multiplication of the
gradient.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from vita_jax.compress import mask_gradients, unpack
from vita_jax.train.experiment import Batch, State


def optimizer(*, clip_norm: float) -> optax.GradientTransformationExtraArgs:
  """Masks the gradient, clips its global norm (0: not), and scales by Adam: β 0.9, 0.999, ε 1e-8."""
  clip = optax.stateless(functools.partial(_clip, clip_norm)) if clip_norm else optax.identity()
  return optax.chain(mask_gradients(), clip, optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8))


def _clip(limit: float, grads: Any, params: Any) -> Any:
  del params
  # optax divides each gradient by the norm; one factor instead is fused into Adam: a pass over memory less.
  factor = jnp.minimum(1.0, limit / optax.tree.norm(grads))
  return jax.tree.map(lambda g: g * factor.astype(g.dtype), grads)


def decayed(rate: float, t: jax.Array, *, steps: int) -> jax.Array:
  """Computes rate * max(0, (steps - t) / steps): no warm-up."""
  return rate * jnp.maximum(0.0, (steps - t) / steps)


def make_step(
  loss: Callable[..., tuple[jax.Array, dict]],
  tx: optax.GradientTransformationExtraArgs,
  *,
  learning_rate: float,
  decay_steps: int,
  offset: int = 0,
) -> Callable[[State, Batch, jax.Array], tuple[State, dict]]:
  """Makes `step(state, batch, t)`; the state holds `params`, `tx`, `key`, `training` and `masks`.

  Args:
    loss: see `tasks.Task`.
    tx: of `optimizer`.
    learning_rate: before any decay.
    decay_steps: after which it is zero.
    offset: number of steps that the weights had before step 0 (rewinding to an early point).
  """
  rate = functools.partial(decayed, learning_rate, steps=decay_steps)
  return functools.partial(_step, loss=loss, tx=tx, rate=rate, offset=offset)


def _step(
  state: State,
  batch: Batch,
  t: jax.Array,
  *,
  loss: Callable[..., tuple[jax.Array, dict]],
  tx: optax.GradientTransformationExtraArgs,
  rate: Callable[[jax.Array], jax.Array],
  offset: int,
) -> tuple[State, dict]:
  # t starts again in each training: the number of the training renews the dropout masks.
  key = jax.random.fold_in(jax.random.fold_in(state["key"], state["training"]), t)
  grads, values = jax.grad(loss, has_aux=True)(state["params"], batch, key)
  masks = unpack(state["masks"], grads)  # bits; {} for none
  updates, tx_state = tx.update(grads, state["tx"], state["params"], masks=masks)
  now = rate(t + offset)
  params = jax.tree.map(lambda p, u: p - now.astype(p.dtype) * u, state["params"], updates)
  return {**state, "params": params, "tx": tx_state}, values
