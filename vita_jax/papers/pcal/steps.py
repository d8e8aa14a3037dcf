"""The training steps: `step(game, state, batch, t) -> (state, metrics)`; `batch` has the arrays of all rows.

All randomness of a step is `fold_in(state["key"], t)`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from vita_jax.metrics import auc_in_step, once
from vita_jax.papers.pcal import losses, split
from vita_jax.papers.pcal.game import Game, adversary_steps, draw, judge, restart
from vita_jax.papers.pcal.model import Moments
from vita_jax.train.experiment import Batch, Metrics, State

MOMENTUM = 0.99  # of the running moments that evaluations during training use


def pretrain(game: Game, state: State, batch: Batch, t: jax.Array) -> tuple[State, Metrics]:
  """Trains encoder and head on the utility loss alone, as the game with gamma 0 and no adversaries."""
  keys = jax.random.split(jax.random.fold_in(state["key"], t), 6)
  rows = draw(game, state, keys[2], 1)[0]
  x = game.inputs(state, batch, rows)
  state, value = _utility_step(game, state, x, batch["target"][rows], keys[3])
  return state, {"utility_loss": once(value)}


def play(game: Game, state: State, batch: Batch, t: jax.Array) -> tuple[State, Metrics]:
  """Takes one outer step of the game: restart if it is time, encoder and head, then the adversaries."""
  recipe = game.recipe
  keys = jax.random.split(jax.random.fold_in(state["key"], t), 6)
  if recipe.restart_every:
    # On `t`, which is never batched: a real branch for replicas, too.
    due = (t % recipe.restart_every == 0) & (t <= recipe.restart_until)
    state = jax.lax.cond(due, lambda s: _renew(game, s, batch, keys), lambda s: s, state)
  drawn = draw(game, state, keys[2], 1 + recipe.adversary_steps)
  state, metrics = _encoder_step(game, state, batch, drawn[0], keys[3])
  for i in range(recipe.monitor_utility_steps):
    state = guarded_utility_step(game, state, batch, jax.random.fold_in(keys[4], i))
  if recipe.adversary_steps:
    state, each = adversary_steps(game, state, batch, drawn[1:], keys[5])
    metrics |= _adversary_metrics(each)
  return state, metrics


def refit(game: Game, state: State, batch: Batch, t: jax.Array) -> tuple[State, Metrics]:
  """Trains a new head on the frozen encoder, whose moments are fixed by now."""
  keys = jax.random.split(jax.random.fold_in(state["key"], t), 2)
  rows = draw(game, state, keys[0], 1)[0]
  z, target = game.frozen_z(state, batch, rows, keys[1]), batch["target"][rows]

  def loss(head):
    return game.utility_loss(head, z, target)[0]

  value, grads = jax.value_and_grad(loss)(state["params"]["head"])
  updates, tx = game.tx["refit"].update(grads, state["tx"]["refit"], state["params"]["head"])
  params = {**state["params"], "head": optax.apply_updates(state["params"]["head"], updates)}
  return {**state, "params": params, "tx": {"refit": tx}}, {"utility_loss": once(value)}


def validate(game: Game, state: State, batch: Batch) -> Metrics:
  """Computes losses and utility on the validation rows of this seed, for the curves of a run."""
  rows = game.validation_rows(state)
  z = game.frozen_z(state, batch, rows, state["key"])  # the same noise each time
  loss, score = game.utility_loss(state["params"]["head"], z, batch["target"][rows])
  metrics = {"utility_loss": once(loss), "utility_auc": once(auc_in_step(score, batch["target"][rows]))}
  if "adversary" in state:
    each = game.adversary_loss(state["adversary"], z, game.labels(state, batch, rows))
    metrics |= _adversary_metrics(each)
  return metrics


def guarded_utility_step(game: Game, state: State, arrays: Any, key: jax.Array) -> State:
  """Takes a step on L_T where the AUC on a batch of validation rows is below `monitor.utility`."""
  keys = jax.random.split(key, 4)
  sizes, shape = game.sizes, (game.recipe.batch_size,)
  held_out = state["rows"][sizes.train + jax.random.randint(keys[0], shape, 0, sizes.validation)]
  z, target = game.frozen_z(state, arrays, held_out, keys[3]), arrays["target"][held_out]
  score = game.utility_loss(state["params"]["head"], z, target)[1]
  below = auc_in_step(score, target) < game.recipe.monitor_utility
  rows = draw(game, state, keys[1], 1)[0]
  new, _ = _utility_step(game, state, game.inputs(state, arrays, rows), arrays["target"][rows], keys[2])
  return jax.tree.map(lambda x, old: jnp.where(below, x, old), new, state)


def running(old: Moments, new: Moments) -> Moments:
  """Moves the running moments towards those of a batch."""
  return jax.tree.map(lambda x, y: MOMENTUM * x + (1 - MOMENTUM) * y, old, new)


def _renew(game: Game, state: State, arrays: Any, keys: jax.Array) -> State:
  state = restart(game, state, arrays, keys[0])
  return judge(game, state, arrays, keys[1]) if game.recipe.judges else state


def _encoder_step(
  game: Game, state: State, arrays: Any, rows: jax.Array, key: jax.Array
) -> tuple[State, dict[str, Any]]:
  """Takes one Adam step of encoder and head on L_T + gamma sum_k J_B^k, the adversaries held fixed."""
  recipe = game.recipe
  x, target = game.inputs(state, arrays, rows), arrays["target"][rows]
  labels, mask = game.labels(state, arrays, rows), split.class_mask(game.n_classes)

  def loss(params, adversary):
    z, found = game.training_z(params["encoder"], x, key)
    utility, _ = game.utility_loss(params["head"], z, target)
    logits = game.ensemble.apply(jax.lax.stop_gradient(adversary), z)
    risk = losses.privacy_risk(recipe.loss, logits, labels, mask, state["prior"], reduction=recipe.reduction)
    total = utility + state["gamma"] * jnp.sum(risk)
    return total, (found, utility, risk)

  grads, (found, utility, risk) = jax.grad(loss, has_aux=True)(state["params"], state["adversary"])
  metrics = {"utility_loss": once(utility), "privacy_risk": once(jnp.sum(risk))}
  return _descend(game, state, grads, found), metrics


def _utility_step(
  game: Game, state: State, x: jax.Array, target: jax.Array, key: jax.Array
) -> tuple[State, jax.Array]:
  """Takes one Adam step of encoder and head on L_T alone; returns the state and the loss before it."""

  def loss(params):
    z, found = game.training_z(params["encoder"], x, key)
    return game.utility_loss(params["head"], z, target)[0], found

  (value, found), grads = jax.value_and_grad(loss, has_aux=True)(state["params"])
  return _descend(game, state, grads, found), value


def _descend(game: Game, state: State, grads: Any, found: Moments) -> State:
  params, tx = dict(state["params"]), dict(state["tx"])
  for name in ("encoder", "head"):
    updates, tx[name] = game.tx[name].update(grads[name], tx[name], params[name])
    params[name] = optax.apply_updates(params[name], updates)
  return {**state, "params": params, "tx": tx, "moments": running(state["moments"], found)}


def _adversary_metrics(each: jax.Array) -> dict[str, Any]:
  """Of losses [M, K]: their mean, and that of the strongest adversary of each attribute."""
  strongest = jnp.mean(jnp.min(each, axis=0))
  return {"adversary_loss": once(jnp.mean(each)), "strongest_adversary_loss": once(strongest)}
