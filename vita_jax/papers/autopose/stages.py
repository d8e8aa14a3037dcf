"""Training as stages: "search" and "derive" (candidates are scored), or "train" for one network by itself."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.data.resident import n_batches
from vita_jax.papers.autopose.data import Inputs
from vita_jax.papers.autopose.model import Nets
from vita_jax.papers.autopose.recipe import Recipe
from vita_jax.papers.autopose.steps import (
  CHOOSER,
  HELD,
  optimizers_of,
  score_step,
  search_step,
  train_optimizer,
  train_step,
  updates_of,
)
from vita_jax.search import OPERATIONS, empty_population, greedy, init_learner, sample, strongest
from vita_jax.search.branches.costs import EDGES
from vita_jax.search.branches.supernet import init_supernet
from vita_jax.train.experiment import Stage, State, Sweep

Tree = Any
NOBODY = -1.0  # the reward of a place in the pool that is free


def stages(recipe: Recipe, nets: Nets, inputs: Inputs) -> tuple[Stage, ...]:
  """Returns the stages of a run; without a network there is none.

  Raises:
    ValueError: a search that scores fewer architectures than there are candidates.
  """
  skeleton = inputs.skeleton
  if not recipe.searches:
    step = partial(train_step, recipe, nets, skeleton, train_optimizer(recipe))
    return (Stage("train", recipe.train.steps, step, inputs.train),) if recipe.train.steps else ()
  scored = updates_of(recipe) * recipe.controller.samples
  if recipe.network.kind in ("uniform", "evolve") and scored < candidates_of(recipe):
    raise ValueError(
      f"config.derive.candidates is {recipe.derive.candidates}, and the search scores {scored} architectures:"
      " raise search.steps, or lower it"
    )
  step = partial(search_step, recipe, nets, skeleton, optimizers_of(recipe))
  held = n_batches(inputs.held)
  scoring = partial(score_step, recipe, nets, skeleton, held)
  length = candidates_of(recipe) * (recipe.derive.batches + held)
  enter = partial(_enter_derive, recipe, nets)
  return (
    Stage("search", recipe.search.steps, step, inputs.weights, also={CHOOSER: inputs.chooser}),
    Stage("derive", length, scoring, inputs.weights, also={HELD: inputs.held}, enter=enter),
  )


def candidates_of(recipe: Recipe) -> int:
  """Counts the candidates that are scored in the end: one where the network level is fixed."""
  return 1 if recipe.network.kind == "fixed" else recipe.derive.candidates


def first_state(recipe: Recipe, nets: Nets, key: jax.Array) -> State:
  """Returns the state that training starts from."""
  draw, key = jax.random.split(key)
  if recipe.searches:
    return search_state(recipe, nets, draw, key)
  assert nets.single is not None
  variables = nets.single.init(draw, jnp.zeros((1, *recipe.data.size, 3)), train=True)
  params = variables["params"]
  tx = train_optimizer(recipe).init(params)
  return {"params": params, "stats": variables.get("batch_stats", {}), "tx": tx, "key": key}


def search_state(recipe: Recipe, nets: Nets, draw: jax.Array, key: jax.Array) -> State:
  """Makes the state of a search.

  `params` and `alpha` with their optimizers; `stats`: zeros; `learner` or `population`, who chooses; `pool`:
  the architectures with the largest leads so far over those drawn with them; `trace`: all rewards, [updates,
  samples].
  """
  weights_key, alpha_key, controller_key = jax.random.split(draw, 3)
  optimizers = optimizers_of(recipe)
  params, stats = init_supernet(nets.supernet, weights_key)
  n = 1 if recipe.cell.shared else recipe.space.branches
  alpha = recipe.cell.start * jax.random.normal(alpha_key, (n, EDGES, len(OPERATIONS)))
  keys, updates = recipe.controller, updates_of(recipe)
  state: State = {
    "params": params,
    "stats": stats,
    "tx": optimizers.weights.init(params),
    "alpha": alpha,
    "alpha_tx": optimizers.alpha.init(alpha),
    "pool": {
      "tokens": jnp.zeros((recipe.derive.candidates, nets.tokens.length), jnp.int32),
      "cells": jnp.zeros((recipe.derive.candidates, recipe.space.branches, EDGES), jnp.int32),
      "rewards": jnp.full(recipe.derive.candidates, NOBODY),
    },
    "trace": {
      "rewards": jnp.zeros((updates, keys.samples)),
      "observed": jnp.zeros((updates, keys.observed)),
      "count": jnp.zeros((), jnp.int32),
    },
    "key": key,
  }
  if recipe.network.kind == "reinforce":
    state["learner"] = init_learner(controller_key, nets.tokens, optimizers.controller, hidden=keys.hidden)
  if recipe.network.kind == "evolve":
    state["population"] = empty_population(nets.tokens, recipe.evolution.population)
  return state


def candidates(recipe: Recipe, nets: Nets, state: State) -> dict[str, jax.Array]:
  """Returns the architectures that are scored: the controller's likeliest and draws of it, or the pool.

  `tokens` int32 [count, T], `cells` int32 [count, N, edges], `scores` -1 [count]. Cells are those of alpha;
  random ones are those that the pool's rewards were of.
  """
  count, n = candidates_of(recipe), recipe.space.branches
  tokens, cells = state["pool"]["tokens"][:count], state["pool"]["cells"][:count]
  if recipe.network.kind == "fixed":
    tokens = jnp.asarray(nets.fixed)[None]
  if recipe.network.kind == "reinforce":
    theta = state["learner"].theta
    keys = jax.random.split(jax.random.fold_in(state["key"], 1), count - 1)
    drawn = jax.vmap(lambda key: sample(key, nets.tokens, theta).tokens)(keys)
    tokens = jnp.concatenate([greedy(nets.tokens, theta).tokens[None], drawn])
  if recipe.cell.kind == "gradient":
    cells = jnp.broadcast_to(strongest(state["alpha"]), (count, n, EDGES))
  return {"tokens": tokens.astype(jnp.int32), "cells": cells, "scores": jnp.full(count, NOBODY)}


def _enter_derive(recipe: Recipe, nets: Nets, state: State, sweep: Sweep) -> State:
  """Ends the search: candidates, and places for what is measured of them."""
  del sweep
  kept = {k: state[k] for k in ("params", "stats", "alpha", "trace", "key")}
  if "learner" in state:
    kept["theta"] = state["learner"].theta
  zeros = jax.tree.map(jnp.zeros_like, state["stats"])
  sums = {"stats": zeros, "reward": jnp.zeros(()), "rows": jnp.zeros(())}
  best = jax.tree.map(jnp.copy, zeros)
  return {**kept, "candidates": candidates(recipe, nets, state), "sums": sums, "best": best}
