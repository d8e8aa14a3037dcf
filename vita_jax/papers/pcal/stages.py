"""A run as stages: pretrain encoder and head, play the game, freeze the encoder and refit the head.

Each seed has a split of its own, made when its first stage begins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.data.resident import Resident
from vita_jax.papers.pcal import autoencoder, freeze, split
from vita_jax.papers.pcal import game as games
from vita_jax.papers.pcal.game import Game
from vita_jax.papers.pcal.inputs import Task
from vita_jax.papers.pcal.model import Moments
from vita_jax.train.experiment import Stage, State

ONCE = 2**20  # folded into a key for what happens once, beyond any step


def start(key: jax.Array) -> State:
  """The keys of a state: of training, and of what is released."""
  return {"key": jax.random.fold_in(key, 0), "noise_key": jax.random.fold_in(key, 1)}


def initial(game: Game) -> Callable:
  """`init(key)` of an experiment that trains an encoder."""
  config, n_inputs = game.config, len(game.encoding.names)

  def init(key: jax.Array) -> State:
    encoder = game.encoder.init(jax.random.fold_in(key, 2), jnp.zeros((1, n_inputs)))["params"]
    params = {"encoder": encoder, "head": _new_head(game, jax.random.fold_in(key, 3))}
    return {
      **start(key),
      "params": params,
      "tx": {name: game.tx[name].init(params[name]) for name in params},
      "moments": Moments(jnp.zeros(config.latent), jnp.ones(config.latent)),
      "gamma": jnp.float32(config.gamma),
    }

  return init


def learn(task: Task) -> Callable:
  """`enter` of a first stage: the split of this seed, and what its training rows teach."""
  n_classes = tuple(len(attribute.classes) for attribute in task.attributes)

  def enter(state: State, sweep) -> State:
    rows = split.shuffle_rows(jax.random.fold_in(state["key"], ONCE), task.groups, task.strata)
    sizes = split.parts(task.n_rows)
    return {
      **state,
      "rows": rows,
      **_whole(sweep, lambda s, a: split.learn(rows, a, n_classes, sizes), state),
    }

  return enter


def stages(game: Game, task: Task, data: Resident) -> tuple[Stage, ...]:
  """The stages of the game, or of the autoencoder."""
  config, begin = game.config, learn(task)
  refit = Stage("refit", config.refit_steps, games.make_refit_step(game), data, enter=_begin_refit(game))
  if config.method == "autoencoder":
    step = autoencoder.make_autoencoder_step(game)
    enter = lambda state, sweep: autoencoder.with_decoder(game, begin(state, sweep))  # noqa: E731
    return Stage("autoencoder", config.steps, step, data, enter=enter), refit
  play = Stage("game", config.steps, games.make_step(game), data, enter=_begin_game(game))
  if config.pretrain_steps == 0:
    both = lambda state, sweep: play.enter(begin(state, sweep), sweep)  # noqa: E731
    return play._replace(enter=both), refit
  step = games.make_pretrain_step(game)
  return Stage("pretrain", config.pretrain_steps, step, data, enter=begin), play, refit


def _begin_game(game: Game) -> Callable:
  def enter(state: State, sweep) -> State:
    """New optimizers, and the first adversaries; the restart at step 0, if there is one, trains them."""
    del sweep
    key = jax.random.fold_in(state["key"], 1)
    adversary = game.ensemble.init(jax.random.fold_in(key, ONCE), game.config.latent)
    trained = {**state["params"], "adversary": adversary}
    tx = {name: game.tx[name].init(tree) for name, tree in trained.items()}
    state = {**state, "key": key, "adversary": adversary, "tx": tx, "restarts": jnp.int32(0)}
    if game.config.select == "validation":
      state |= {"best": jnp.float32(-jnp.inf), "kept": games.players(state)}
    return state

  return enter


def _begin_refit(game: Game) -> Callable:
  def enter(state: State, sweep) -> State:
    """The encoder is frozen: chosen, cut off from inputs it never saw vary, its moments exact; a new head."""
    key = jax.random.fold_in(state["key"], 2)
    if "kept" in state:
      state = {**state, **_whole(sweep, lambda s, a: _judge_last(game, s, a, key), state)}
    encoder = _whole(sweep, lambda s, a: freeze.without_constants(game, s, a), state)
    head = _new_head(game, jax.random.fold_in(key, 3))
    state = {**state, "key": key, "params": {"encoder": encoder, "head": head}}
    state["moments"] = _whole(sweep, lambda s, a: freeze.exact_moments(game, s, a), state)
    state["tx"] = {"refit": game.tx["refit"].init(head)}
    return {name: leaf for name, leaf in state.items() if name not in ("best", "kept", "decoder")}

  return enter


def _judge_last(game: Game, state: State, arrays: Any, key: jax.Array) -> Any:
  """The players that were kept, after the last ones were judged by new adversaries, too."""
  state = games.restart(game, state, arrays, jax.random.fold_in(key, ONCE))
  return games.judge(game, state, arrays, key)["kept"]


def _whole(sweep: Callable, fn: Callable, state: State) -> Any:
  """`fn(state, arrays of all rows)`, in the one pass that a sweep over whole arrays is."""
  return sweep(lambda s, arrays: fn(s, jax.tree.map(jnp.asarray, arrays)), state)


def _new_head(game: Game, key: jax.Array) -> Any:
  return game.head.init(key, jnp.zeros((1, game.config.latent)))["params"]
