"""PCAL: privacy-preserving credit modelling by adversarial learning (arXiv 2010.02529, 2020).

Claim: an encoder trained against adversaries gives a representation that predicts credit risk about as well
as the raw data, while private attributes can hardly be told from it, better than off-the-shelf options do.

This is no differential privacy. What is shown is an empirical bound over the attackers that were tried.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from vita_jax.data.resident import Resident
from vita_jax.papers.pcal import game as games
from vita_jax.papers.pcal import inputs, losses, split
from vita_jax.papers.pcal.autoencoder import make_autoencoder_step
from vita_jax.papers.pcal.baselines import BASELINES, REFERENCES
from vita_jax.papers.pcal.config import AT_LEAST
from vita_jax.papers.pcal.export import exported, released
from vita_jax.papers.pcal.model import MLP, Moments, make_ensemble
from vita_jax.papers.pcal.report import make_report
from vita_jax.train.config import check_at_least, choose
from vita_jax.train.experiment import Experiment, Stage, State

METHODS = ("pcal", "autoencoder", *BASELINES, *REFERENCES)


def build(config: Any) -> Experiment:
  """The experiment of a config: reads the table, checks the task.

  Args:
    config: from `configs/pcal/*.py`; every field is explained in `papers/pcal/config.py`.

  Raises:
    ValueError, FileNotFoundError: an unknown option, missing or unusable data (see `inputs`).
  """
  table, schema = inputs.read(config)
  task = inputs.make_task(table, schema, attributes=tuple(config.attributes), variant=config.variant)
  return experiment(config, task)


def experiment(config: Any, task: inputs.Task) -> Experiment:
  """The experiment of a config on a task: the game, the autoencoder, or a baseline that is only fitted."""
  choose("config.method", config.method, METHODS)
  choose("config.loss", config.loss, losses.LOSSES)
  choose("config.reduction", config.reduction, losses.REDUCTIONS)
  choose("config.select", config.select, ("last", "validation"))
  check_at_least(config, AT_LEAST)
  if config.method == "drop" and config.variant == "include":
    raise ValueError("method 'drop' with variant 'include' drops nothing: take 'exclude', or method 'raw'")
  data = Resident(task.arrays)
  if config.method in BASELINES or config.method in REFERENCES:
    return _fitted(config, task, data)
  game = make_game(config, task)
  return Experiment(
    init=_init(game),
    stages=_stages(game, task, data),
    params=released,
    report=make_report(task, config, game),
    export=lambda state: exported(game, state),
  )


def make_game(config: Any, task: inputs.Task) -> games.Game:
  """Networks and optimizers of a config."""
  n_classes = tuple(len(attribute.classes) for attribute in task.attributes)
  dtype = jnp.dtype(config.dtype)
  falling = optax.join_schedules(
    [
      optax.constant_schedule(config.learning_rate),
      optax.cosine_decay_schedule(config.learning_rate, max(3 * config.steps // 10, 1), alpha=0.1),
    ],
    [7 * config.steps // 10],
  )
  decay = optax.add_decayed_weights(config.head_weight_decay)
  return games.Game(
    config=config,
    encoding=task.encoding,
    sizes=split.parts(task.n_rows),
    n_classes=n_classes,
    encoder=MLP(tuple(config.encoder_widths), config.latent, dtype=dtype),
    head=MLP(tuple(config.head_widths), 2, dtype=dtype),
    ensemble=make_ensemble(
      config.adversary.widths,
      n_attributes=len(n_classes),
      n_classes=max(n or split.BINS for n in n_classes),
    ),
    tx={
      "encoder": optax.adam(falling),
      "head": optax.chain(decay, optax.adam(falling)),
      "adversary": optax.adam(config.adversary.learning_rate),
      "refit": optax.chain(decay, optax.adam(config.learning_rate)),
    },
  )


def _start(key: jax.Array) -> State:
  return {"key": jax.random.fold_in(key, 0), "noise_key": jax.random.fold_in(key, 1)}


def _learn(task: inputs.Task):
  """`enter` of a first stage: the split of this seed, and what its training rows teach."""
  n_classes = tuple(len(attribute.classes) for attribute in task.attributes)

  def enter(state: State, sweep) -> State:
    rows = split.shuffle_rows(jax.random.fold_in(state["key"], 2**20), task.groups, task.strata)
    learned = lambda s, arrays: split.learn(rows, arrays, n_classes, split.parts(task.n_rows))  # noqa: E731
    return {**state, "rows": rows, **sweep(learned, state)}

  return enter


def _init(game: games.Game):
  config, n_inputs = game.config, len(game.encoding.names)

  def init(key: jax.Array) -> State:
    encoder = game.encoder.init(jax.random.fold_in(key, 2), jnp.zeros((1, n_inputs)))["params"]
    params = {"encoder": encoder, "head": _new_head(game, jax.random.fold_in(key, 3))}
    return {
      **_start(key),
      "params": params,
      "tx": {name: game.tx[name].init(params[name]) for name in params},
      "moments": Moments(jnp.zeros(config.latent), jnp.ones(config.latent)),
      "gamma": jnp.float32(config.gamma),
    }

  return init


def _new_head(game: games.Game, key: jax.Array) -> Any:
  return game.head.init(key, jnp.zeros((1, game.config.latent)))["params"]


def _stages(game: games.Game, task: inputs.Task, data: Resident) -> tuple[Stage, ...]:
  config, learn = game.config, _learn(task)

  def begin_game(state: State, sweep) -> State:
    """New optimizers, and the first adversaries; the restart at step 0, if there is one, trains them."""
    key = jax.random.fold_in(state["key"], 1)
    adversary = game.ensemble.init(jax.random.fold_in(key, 2**20), config.latent)
    trained = {**state["params"], "adversary": adversary}
    tx = {name: game.tx[name].init(tree) for name, tree in trained.items()}
    state = {**state, "key": key, "adversary": adversary, "tx": tx, "restarts": jnp.int32(0)}
    if config.select == "validation":
      state |= {"best": jnp.float32(-jnp.inf), "kept": state["params"]}
    return state

  def begin_refit(state: State, sweep) -> State:
    """The encoder is frozen: exact moments, a new head; inputs that were constant in training are cut off."""
    key = jax.random.fold_in(state["key"], 2)
    if config.select == "validation" and config.restart.every:
      last = lambda s, arrays: games.judge(  # noqa: E731
        game, games.restart(game, s, arrays, jax.random.fold_in(key, 2**20)), arrays, key
      )
      state = sweep(last, state)
      state = {**state, "params": state["kept"]}
    encoder = sweep(lambda s, arrays: games.without_constants(game, s, arrays), state)
    state = {**state, "params": {"encoder": encoder, "head": _new_head(game, jax.random.fold_in(key, 3))}}
    moments = sweep(lambda s, arrays: games.exact_moments(game, s, arrays), state)
    state = {name: leaf for name, leaf in state.items() if name not in ("best", "kept")}
    return {
      **state,
      "key": key,
      "moments": moments,
      "tx": {"refit": game.tx["refit"].init(state["params"]["head"])},
    }

  refit = Stage("refit", config.refit_steps, games.make_refit_step(game), data, enter=begin_refit)
  if config.method == "autoencoder":
    step, enter = make_autoencoder_step(game), lambda state, sweep: _with_decoder(game, learn(state, sweep))
    return Stage("autoencoder", config.steps, step, data, enter=enter), refit
  if config.pretrain_steps == 0:
    both = lambda state, sweep: begin_game(learn(state, sweep), sweep)  # noqa: E731
    return Stage("game", config.steps, games.make_step(game), data, enter=both), refit
  pretrain = Stage("pretrain", config.pretrain_steps, games.make_pretrain_step(game), data, enter=learn)
  return pretrain, Stage("game", config.steps, games.make_step(game), data, enter=begin_game), refit


def _with_decoder(game: games.Game, state: State) -> State:
  from vita_jax.papers.pcal.autoencoder import decoder

  params = decoder(game).init(jax.random.fold_in(state["key"], 3), jnp.zeros((1, game.config.latent)))[
    "params"
  ]
  tx = {**state["tx"], "decoder": game.tx["encoder"].init(params)}
  return {**state, "decoder": params, "tx": tx}


def _fitted(config: Any, task: inputs.Task, data: Resident) -> Experiment:
  """A baseline: one step that does nothing after the split; fitting and audit are in the report."""

  def step(state: State, batch, t):
    return state, {"rows": (jnp.float32(task.n_rows), jnp.asarray(1.0))}

  return Experiment(
    init=_start,
    stages=(Stage("split", 1, step, data, enter=_learn(task)),),
    params=lambda state: {"scaler": state["scaler"]},
    report=make_report(task, config, None),
  )


def __getattr__(name: str):
  if name == "PrivacyEncoder":  # it stands on scikit-learn, which is slow to import
    from vita_jax.papers.pcal.estimator import PrivacyEncoder

    return PrivacyEncoder
  raise AttributeError(f"module 'vita_jax.papers.pcal' has no attribute '{name}'")
