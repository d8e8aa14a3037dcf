"""A run as stages: pretrain encoder and head, play the game, freeze the encoder and refit the head.

Each seed has a split of its own, made when its first stage begins.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.data.resident import Resident
from vita_jax.data.splits import part_sizes, shuffle_rows
from vita_jax.metrics import once
from vita_jax.papers.pcal import autoencoder, freeze, split, steps
from vita_jax.papers.pcal import game as games
from vita_jax.papers.pcal.data import Task
from vita_jax.papers.pcal.game import Game
from vita_jax.papers.pcal.model import Moments
from vita_jax.train.experiment import Batch, Metrics, Stage, State, Sweep

ONCE = 2**20  # folded into a key for what happens once, beyond any step


def start(key: jax.Array) -> State:
  """Makes the keys of a state: of training, and of the noise in what is exported."""
  return {"key": jax.random.fold_in(key, 0), "noise_key": jax.random.fold_in(key, 1)}


def initial(game: Game, key: jax.Array) -> State:
  """Makes the first state of an experiment that trains an encoder."""
  recipe, n_inputs = game.recipe, len(game.encoding.names)
  encoder = game.encoder.init(jax.random.fold_in(key, 2), jnp.zeros((1, n_inputs)))["params"]
  params = {"encoder": encoder, "head": _new_head(game, jax.random.fold_in(key, 3))}
  return {
    **start(key),
    "params": params,
    "tx": {name: game.tx[name].init(params[name]) for name in params},
    "moments": Moments(jnp.zeros(recipe.latent), jnp.ones(recipe.latent)),
    "gamma": jnp.float32(recipe.gamma),
  }


def stages(game: Game, task: Task, data: Resident) -> tuple[Stage, ...]:
  """Makes the stages of the game, or of the autoencoder."""
  recipe = game.recipe

  def stage(name: str, n_steps: int, step: Callable, *enters: Callable) -> Stage:
    return Stage(name, n_steps, functools.partial(step, game), data, enter=_in_turn(*enters))

  split_rows = functools.partial(learn, task)
  refit = stage("refit", recipe.refit_steps, steps.refit, functools.partial(_begin_refit, game))
  if recipe.method == "autoencoder":
    add = functools.partial(_add_decoder, game)
    return stage("autoencoder", recipe.steps, autoencoder.reconstruct, split_rows, add), refit
  begin = functools.partial(_begin_game, game)
  if recipe.pretrain_steps == 0:
    return stage("game", recipe.steps, steps.play, split_rows, begin), refit
  pretrain = stage("pretrain", recipe.pretrain_steps, steps.pretrain, split_rows)
  return pretrain, stage("game", recipe.steps, steps.play, begin), refit


def split_stage(task: Task, data: Resident) -> Stage:
  """Makes the one stage of a baseline, which only splits: fitting and audit are in the report."""

  def step(state: State, batch: Batch, t: jax.Array) -> tuple[State, Metrics]:
    del batch, t
    return state, {"rows": once(jnp.float32(task.n_rows))}

  return Stage("split", 1, step, data, enter=functools.partial(learn, task))


def learn(task: Task, state: State, sweep: Sweep) -> State:
  """Enters a first stage: the split of this seed, and what its training rows teach."""
  rows = shuffle_rows(jax.random.fold_in(state["key"], ONCE), task.groups, task.strata)
  sizes = part_sizes(task.n_rows)
  learned = _whole(sweep, lambda s, a: split.learn(rows, a, task.n_classes, sizes), state)
  return {**state, "rows": rows, **learned}


def _in_turn(*enters: Callable) -> Callable[[State, Sweep], State]:
  def enter(state: State, sweep: Sweep) -> State:
    for one in enters:
      state = one(state, sweep)
    return state

  return enter


def _add_decoder(game: Game, state: State, sweep: Sweep) -> State:
  del sweep
  return autoencoder.with_decoder(game, state)


def _begin_game(game: Game, state: State, sweep: Sweep) -> State:
  """Makes new optimizers and the first adversaries; the restart at step 0, if there is one, trains them."""
  del sweep
  key = jax.random.fold_in(state["key"], 1)
  adversary = game.ensemble.init(jax.random.fold_in(key, ONCE), game.recipe.latent)
  trained = {**state["params"], "adversary": adversary}
  tx = {name: game.tx[name].init(tree) for name, tree in trained.items()}
  state = {**state, "key": key, "adversary": adversary, "tx": tx, "restarts": jnp.int32(0)}
  if game.recipe.judges:
    state |= {"best": jnp.float32(-jnp.inf), "kept": games.players(state)}
  return state


def _begin_refit(game: Game, state: State, sweep: Sweep) -> State:
  """Freezes the encoder: chosen, cut off from inputs it never saw vary, its moments exact; a new head."""
  key = jax.random.fold_in(state["key"], 2)
  if "kept" in state:
    state = {**state, **_whole(sweep, lambda s, a: _judge_last(game, s, a, key), state)}
  encoder = _whole(sweep, lambda s, a: freeze.without_constants(game, s, a), state)
  head = _new_head(game, jax.random.fold_in(key, 3))
  state = {**state, "key": key, "params": {"encoder": encoder, "head": head}}
  state["moments"] = _whole(sweep, lambda s, a: freeze.exact_moments(game, s, a), state)
  state["tx"] = {"refit": game.tx["refit"].init(head)}
  return {name: leaf for name, leaf in state.items() if name not in ("best", "kept", "decoder")}


def _judge_last(game: Game, state: State, arrays: Any, key: jax.Array) -> Any:
  """Returns the players that were kept, after the last ones were judged by new adversaries, too."""
  state = games.restart(game, state, arrays, jax.random.fold_in(key, ONCE))
  return games.judge(game, state, arrays, key)["kept"]


def _whole(sweep: Sweep, fn: Callable, state: State) -> Any:
  """Calls `fn(state, arrays of all rows)` in the one pass that a sweep over whole arrays is."""
  return sweep(lambda s, arrays: fn(s, jax.tree.map(jnp.asarray, arrays)), state)


def _new_head(game: Game, key: jax.Array) -> Any:
  return game.head.init(key, jnp.zeros((1, game.recipe.latent)))["params"]
