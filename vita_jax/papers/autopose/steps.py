"""The three training steps: of the search, of scoring candidates, and of a network that is trained by itself.

All searches are one step, whose switches say who chooses the network level and who the cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vita_jax import metrics
from vita_jax.optim.schedules import decayed
from vita_jax.papers.autopose.data import augmentation_of
from vita_jax.papers.autopose.losses import loss_of, reward_of, rewards_of
from vita_jax.papers.autopose.model import Nets, prepared
from vita_jax.papers.autopose.recipe import Recipe
from vita_jax.pose.augment import augment_on_device
from vita_jax.pose.skeletons import Skeleton
from vita_jax.search import (
  OPERATIONS,
  anneal,
  cost_aware,
  greedy,
  insert,
  learn,
  mixing_weights,
  propose,
  sample,
  strongest,
)
from vita_jax.search.branches.costs import costs_of, macs
from vita_jax.search.branches.space import network_of
from vita_jax.search.branches.supernet import averaged, forward
from vita_jax.train.experiment import Metrics, State

Tree = Any
Batch = Mapping[str, Any]
LAST_RATE = 1e-5  # of weights at the end of a search
CHOOSER = "chooser"  # the further data of a search: rows that choose
HELD = "held"  # of scoring: rows that only score


class Optimizers(NamedTuple):
  """Those of a search: of weights, of alpha, of the controller."""

  weights: optax.GradientTransformation
  alpha: optax.GradientTransformation
  controller: optax.GradientTransformation


def optimizers_of(recipe: Recipe) -> Optimizers:
  """Makes the optimizers of a search; the cosine runs over the steps that train weights."""
  search, cell = recipe.search, recipe.cell
  cosine = optax.cosine_decay_schedule(search.rate, weight_steps(recipe), alpha=LAST_RATE / search.rate)
  decay = optax.add_decayed_weights(cell.decay) if cell.decay else optax.identity()
  return Optimizers(
    optax.chain(optax.clip_by_global_norm(search.clip), optax.adam(cosine)),
    optax.chain(decay, optax.adam(cell.rate, b1=0.5, b2=0.999)),
    optax.adam(recipe.controller.rate),
  )


def chooses(recipe: Recipe) -> bool:
  """Tells whether the network level is chosen by rewards, so that a search has steps that only score."""
  return recipe.network.kind != "fixed"


def weight_steps(recipe: Recipe) -> int:
  """Counts the steps of a search that train weights."""
  search, more = recipe.search, recipe.controller.steps if chooses(recipe) else 0
  rest = search.steps - search.warm
  return (
    search.warm
    + rest // (search.round + more) * search.round
    + min(rest % (search.round + more), search.round)
  )


def updates_of(recipe: Recipe) -> int:
  """Counts the steps of a search that score architectures."""
  return recipe.search.steps - weight_steps(recipe)


def augmented(recipe: Recipe, skeleton: Skeleton, key: jax.Array, batch: Batch) -> Batch:
  """Returns a batch as training sees it; rows of a stream were augmented on the host."""
  if recipe.data.stream:
    return batch
  drawn = augmentation_of(recipe, host=False)
  parts = (batch["image"], batch["joints"], batch["visible"])
  images, joints, visible = augment_on_device(key, *parts, skeleton, drawn)
  return {**batch, "image": images, "joints": joints, "visible": visible}


def search_step(
  recipe: Recipe,
  nets: Nets,
  skeleton: Skeleton,
  optimizers: Optimizers,
  state: State,
  batch: Batch,
  t: jax.Array,
) -> tuple[State, Metrics]:
  """Takes one step of a search: on weights and alpha, or, in the last steps of each round, on who chooses.

  Args:
    recipe: the settings.
    nets: the networks.
    skeleton: of the keypoints.
    optimizers: of weights, alpha and the controller.
    state: see `stages.search_state`.
    batch: rows that train weights; under `chooser` rows that train alpha and reward the controller.
    t: the step.
  """
  search, length = recipe.search, recipe.search.round + recipe.controller.steps
  key = jax.random.fold_in(state["key"], t)
  learn_weights = partial(_learn, recipe, nets, skeleton, optimizers, batch, key, t)
  if not chooses(recipe):
    return learn_weights(state)
  scoring = (t >= search.warm) & ((t - search.warm) % length >= search.round)
  return jax.lax.cond(
    scoring, partial(_choose, recipe, nets, skeleton, optimizers, batch, key, t), learn_weights, state
  )


def proposed(recipe: Recipe, nets: Nets, state: State, key: jax.Array, count: int) -> jax.Array:
  """Draws network levels, int32 [count, T], as who chooses them does now."""
  kind = recipe.network.kind
  if kind == "fixed":
    return jnp.broadcast_to(jnp.asarray(nets.fixed), (count, nets.tokens.length))
  if kind == "evolve":
    tournament = recipe.evolution.tournament
    return propose(key, nets.tokens, state["population"], count, tournament=tournament)
  theta = state["learner"].theta if kind == "reinforce" else None
  return uniform(nets, key, count, theta)


def uniform(nets: Nets, key: jax.Array, count: int, theta: Tree = None) -> jax.Array:
  """Draws network levels [count, T] by a controller, or uniformly."""
  return jax.vmap(lambda k: sample(k, nets.tokens, theta).tokens)(jax.random.split(key, count))


def random_cells(recipe: Recipe, key: jax.Array) -> jax.Array:
  """Draws discrete cells uniformly, int32 [N, edges]."""
  n = 1 if recipe.cell.shared else recipe.space.branches
  noise = jax.random.normal(key, (n, 6, len(OPERATIONS)))
  return jnp.broadcast_to(strongest(noise), (recipe.space.branches, 6))


def weights_of(recipe: Recipe, alpha: jax.Array, cells: jax.Array, key: Any, t: Any) -> jax.Array | None:
  """Returns the weights of the mixtures [N, edges, operations]; those of random cells are one-hot."""
  if recipe.cell.kind == "plain":
    return None
  if recipe.cell.kind == "random":
    return jax.nn.one_hot(cells, len(OPERATIONS))
  tau = anneal(t, recipe.search.steps, first=recipe.cell.tau_first, last=recipe.cell.tau_last)
  relaxation = recipe.cell.relaxation if key is not None else "softmax"
  found = mixing_weights(alpha, kind=relaxation, key=key, tau=tau)
  return jnp.broadcast_to(found, (recipe.space.branches, *found.shape[1:]))


def _learn(
  recipe: Recipe,
  nets: Nets,
  skeleton: Skeleton,
  optimizers: Optimizers,
  batch: Batch,
  key: jax.Array,
  t: jax.Array,
  state: State,
) -> tuple[State, Metrics]:
  """Takes a step on the weights, and with gradient cells one on alpha, of one architecture."""
  draw, drawn_cells, noise, flips = jax.random.split(key, 4)
  tokens = proposed(recipe, nets, state, draw, 1)[0]
  warm = t < recipe.search.warm
  if chooses(recipe):
    tokens = jnp.where(warm, uniform(nets, draw, 1)[0], tokens)
  network, cells = network_of(recipe.space, tokens), random_cells(recipe, drawn_cells)
  train = augmented(recipe, skeleton, flips, {k: v for k, v in batch.items() if k != CHOOSER})

  def loss(params: Tree, alpha: Tree, rows: Batch) -> jax.Array:
    weights = weights_of(recipe, alpha, cells, noise, t)
    images = prepared(rows["image"], recipe.dtype)
    maps, _ = forward(
      nets.supernet, params, state["stats"], images, network, weights, sparse=recipe.cell.kind == "random"
    )
    return loss_of(recipe, maps, rows)

  def half(state: Tree, given: tuple[Batch, jax.Array]) -> tuple[Tree, jax.Array]:
    """A step on one of the two sides. One program serves both, though it computes a gradient too many."""
    rows, of_alpha = given
    value, (of_params, slope) = jax.value_and_grad(loss, argnums=(0, 1))(
      state["params"], state["alpha"], rows
    )
    moves, tx = optimizers.weights.update(of_params, state["tx"], state["params"])
    weights = {"params": optax.apply_updates(state["params"], moves), "tx": tx}
    moves, tx = optimizers.alpha.update(slope, state["alpha_tx"], state["alpha"])
    choice = {"alpha": optax.apply_updates(state["alpha"], moves), "alpha_tx": tx}
    kept = {k: state[k] for k in choice}, {k: state[k] for k in weights}
    pairs = ((choice, kept[0], of_alpha), (weights, kept[1], ~of_alpha))
    new = [jax.tree.map(lambda a, b, w=w: jnp.where(w, a, b), x, y) for x, y, w in pairs]
    return {**new[0], **new[1]}, value

  trained = {k: state[k] for k in ("params", "tx", "alpha", "alpha_tx")}
  sides, alpha_too = jnp.array([False, True]), ~warm & (t % recipe.search.every == 0)
  if recipe.cell.kind != "gradient":
    trained, value = half(trained, (train, sides[0]))
    values = jnp.stack([value, 0.0])
  else:
    both = {k: jnp.stack([train[k], batch[CHOOSER][k]]) for k in ("image", "joints", "visible")}

    def either(trained: Tree, given: tuple[Batch, jax.Array]) -> tuple[Tree, jax.Array]:
      skip = given[1] & ~alpha_too
      return jax.lax.cond(skip, lambda x: (x, jnp.zeros(())), lambda x: half(x, given), trained)

    trained, values = jax.lax.scan(either, trained, (both, sides))
  new = {**state, **trained}
  weight = alpha_too.astype(jnp.float32) if recipe.cell.kind == "gradient" else jnp.zeros(())
  return new, _metrics(
    loss=(values[0], 1.0), alpha_loss=(values[1], weight), skip_share=(skips(state["alpha"]), 1.0)
  )


NAMES = ("loss", "alpha_loss", "skip_share", "reward", "uniform_reward", "entropy")


def _metrics(**found: tuple[Any, Any]) -> Metrics:
  """All metrics of a search step, with weight 0 where it has none."""
  pairs = {name: found.get(name, (0.0, 0.0)) for name in NAMES}
  return {name: tuple(jnp.asarray(x, jnp.float32) for x in pair) for name, pair in pairs.items()}  # type: ignore[misc]


def skips(alpha: jax.Array) -> jax.Array:
  """Computes the mean weight of "skip": cells that collapse have it near 1."""
  return jnp.mean(jax.nn.softmax(alpha)[..., OPERATIONS.index("skip")])


def _choose(
  recipe: Recipe,
  nets: Nets,
  skeleton: Skeleton,
  optimizers: Optimizers,
  batch: Batch,
  key: jax.Array,
  t: jax.Array,
  state: State,
) -> tuple[State, Metrics]:
  """Scores architectures by the statistics of one batch, and lets who chooses them learn from it."""
  draw, cell_key, flat = jax.random.split(key, 3)
  keys, rows = recipe.controller, batch[CHOOSER]
  m = keys.samples
  tokens = proposed(recipe, nets, state, draw, m)
  every = jnp.concatenate([tokens, uniform(nets, flat, keys.observed)]) if keys.observed else tokens
  cells = jax.vmap(partial(random_cells, recipe))(jax.random.split(cell_key, len(every)))
  images = prepared(rows["image"], recipe.dtype)

  def score(drawn: tuple[jax.Array, jax.Array]) -> jax.Array:
    one, cell = drawn
    weights = weights_of(recipe, state["alpha"], cell, None, t)
    network = network_of(recipe.space, one)
    given = state["params"], state["stats"], images, network, weights
    maps, _ = forward(nets.supernet, *given, sparse=recipe.cell.kind == "random")
    reward = reward_of(recipe, skeleton, maps, rows)
    if not keys.macs:
      return reward
    chosen = None if weights is None else strongest(weights)
    cost = macs(costs_of(recipe.space, nets.shape), network, chosen)
    return cost_aware(reward, cost, target=keys.macs, beta=keys.beta)

  rewards = jax.lax.map(score, (every, cells))
  own, observed = rewards[:m], rewards[m:]
  # Without the mean of those beside it: else the pool would be of the easiest batches and the latest weights.
  gains = own - jnp.mean(own) if m > 1 else own
  new = {**state, **_learned(recipe, nets, optimizers, state, tokens, own, gains)}
  pool = state["pool"]
  joined = {"tokens": tokens, "cells": cells[:m], "rewards": gains}
  joined = {name: jnp.concatenate([pool[name], x]) for name, x in joined.items()}
  best = jnp.argsort(-joined["rewards"], stable=True)[: recipe.derive.candidates]
  new["pool"] = {name: x[best] for name, x in joined.items()}
  trace, place = state["trace"], state["trace"]["count"]
  new["trace"] = {
    "rewards": trace["rewards"].at[place].set(own),
    "observed": trace["observed"].at[place].set(observed),
    "count": place + 1,
  }
  found = {"reward": (jnp.mean(own), 1.0), "entropy": (_entropy(recipe, nets, state), 1.0)}
  if keys.observed:
    found["uniform_reward"] = (jnp.mean(observed), 1.0)
  return new, _metrics(**found)


def _learned(
  recipe: Recipe,
  nets: Nets,
  optimizers: Optimizers,
  state: State,
  tokens: jax.Array,
  rewards: jax.Array,
  gains: jax.Array,
) -> dict[str, Any]:
  """What the chooser of networks is after these rewards; gains are those beyond the rewards' mean."""
  if recipe.network.kind == "evolve":
    return {"population": insert(state["population"], tokens, gains)}
  if recipe.network.kind != "reinforce":
    return {}
  keys = recipe.controller
  more = {"entropy_weight": keys.entropy, "decay": keys.decay, "baseline": keys.baseline}
  given = state["learner"], nets.tokens, tokens, rewards
  return {"learner": learn(*given, optimizer=optimizers.controller, **more)}


def _entropy(recipe: Recipe, nets: Nets, state: State) -> jax.Array:
  """The entropy of the policy along its likeliest architecture; 0 without one."""
  if recipe.network.kind != "reinforce":
    return jnp.zeros(())
  return greedy(nets.tokens, state["learner"].theta).entropy


def score_step(
  recipe: Recipe, nets: Nets, skeleton: Skeleton, held: int, state: State, batch: Batch, t: jax.Array
) -> tuple[State, Metrics]:
  """Scores candidates one after the other: statistics of norms measured anew, then the reward on held rows.

  Args:
    recipe: the settings.
    nets: the networks.
    skeleton: of the keypoints.
    held: batches of held rows, all of which score each candidate; multiply-adds count as in the search.
    state: `candidates`, and the sums of the one that is being scored: made on entering "derive".
    batch: rows that train weights; under `held` rows that only score, in order.
    t: the step; a candidate takes `derive.batches` + held of them.
  """
  count = recipe.derive.batches
  number, place = t // (count + held), t % (count + held)
  candidates = state["candidates"]
  network = network_of(recipe.space, candidates["tokens"][number])
  weights = weights_of(recipe, state["alpha"], candidates["cells"][number], None, recipe.search.steps)
  run = partial(forward, nets.supernet, state["params"], sparse=recipe.cell.kind == "random")
  blank = jax.tree.map(jnp.zeros_like, state["sums"])
  sums = jax.tree.map(lambda new, old: jnp.where(place == 0, new, old), blank, state["sums"])

  def measure(sums: Tree) -> Tree:
    images = prepared(batch["image"], recipe.dtype)
    _, moved = run(state["stats"], images, network, weights, train=True)
    return {**sums, "stats": jax.tree.map(jnp.add, sums["stats"], moved)}

  def score(sums: Tree) -> Tree:
    rows = batch[HELD]
    images = prepared(rows["image"], recipe.dtype)
    maps, _ = run(averaged(sums["stats"], count), images, network, weights, train=False)
    counted = jnp.any(rows["visible"] > 0, axis=1) * rows.get("mask", 1.0)
    total = jnp.sum(rewards_of(recipe, skeleton, maps, rows) * counted)
    return {**sums, "reward": sums["reward"] + total, "rows": sums["rows"] + jnp.sum(counted)}

  sums = jax.lax.cond(place < count, measure, score, sums)
  done = place == count + held - 1
  cost = macs(costs_of(recipe.space, nets.shape), network, None if weights is None else strongest(weights))
  value = sums["reward"] / jnp.maximum(sums["rows"], 1)
  value = cost_aware(value, cost, target=recipe.controller.macs, beta=recipe.controller.beta)
  better = done & (value > jnp.max(candidates["scores"]))
  best = jax.tree.map(lambda new, old: jnp.where(better, new, old), sums["stats"], state["best"])
  scores = candidates["scores"]
  scores = scores.at[number].set(jnp.where(done, value, scores[number]))
  new = {**state, "sums": sums, "best": best, "candidates": {**candidates, "scores": scores}}
  return new, {"score": (jnp.where(done, value, 0.0), done.astype(jnp.float32))}


def train_optimizer(recipe: Recipe) -> optax.GradientTransformation:
  """Makes Adam with the schedule of a network that is trained by itself."""
  keys = recipe.train
  return optax.adam(
    decayed(keys.rate, keys.steps, kind=keys.schedule, warmup=keys.warmup, drops=tuple(keys.drops))
  )


def train_step(
  recipe: Recipe,
  nets: Nets,
  skeleton: Skeleton,
  optimizer: optax.GradientTransformation,
  state: State,
  batch: Batch,
  t: jax.Array,
) -> tuple[State, Metrics]:
  """Takes one step of a network that is trained by itself: state `params`, `stats`, `tx`, `key`."""
  assert nets.single is not None
  net = nets.single
  rows = augmented(recipe, skeleton, jax.random.fold_in(state["key"], t), batch)
  images = prepared(rows["image"], recipe.dtype)

  def loss(params: Tree) -> tuple[jax.Array, Tree]:
    variables = {"params": params, "batch_stats": state["stats"]}
    maps, moved = net.apply(variables, images, train=True, mutable=["batch_stats"])
    return loss_of(recipe, maps, rows), moved.get("batch_stats", {})

  (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(state["params"])
  moves, tx = optimizer.update(grads, state["tx"], state["params"])
  new = {**state, "params": optax.apply_updates(state["params"], moves), "stats": stats, "tx": tx}
  return new, {"loss": metrics.once(value)}
