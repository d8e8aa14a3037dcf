"""PCAL: privacy-preserving credit modelling by adversarial learning (arXiv 2010.02529, 2020).

Claim: an encoder trained against adversaries gives a representation that predicts credit risk about as well
as the raw data, while private attributes can hardly be told from it, better than off-the-shelf options do.

This is no differential privacy. What is shown is an empirical bound over the attackers that were tried.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import optax

from vita_jax.base.choose import choose
from vita_jax.data.resident import Resident
from vita_jax.papers.pcal import game as games
from vita_jax.papers.pcal import inputs, losses, split
from vita_jax.papers.pcal.attackers import KINDS
from vita_jax.papers.pcal.audit import SPLITS
from vita_jax.papers.pcal.baselines import BASELINES, REFERENCES
from vita_jax.papers.pcal.config import AT_LEAST
from vita_jax.papers.pcal.export import exported, released
from vita_jax.papers.pcal.model import MLP, make_ensemble
from vita_jax.papers.pcal.report import make_report
from vita_jax.papers.pcal.stages import initial, learn, stages, start
from vita_jax.train.config import check_at_least
from vita_jax.train.experiment import Eval, Experiment, Stage

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
  choose("config.audit.attackers", config.audit.attackers, KINDS)  # now, not when training is over
  choose("config.audit.attacker_split", config.audit.attacker_split, SPLITS)
  check_at_least(config, AT_LEAST)
  if config.method == "drop" and config.variant == "include":
    raise ValueError("method 'drop' with variant 'include' drops nothing: take 'exclude', or method 'raw'")
  if config.method == "raw" and config.variant != "include":
    raise ValueError(
      f"method 'raw' with variant '{config.variant}' is not raw: take 'include', or method 'drop'"
    )
  data = Resident(task.arrays)
  if config.method in BASELINES or config.method in REFERENCES:
    return _fitted(config, task, data)
  game = make_game(config, task)
  return Experiment(
    init=initial(game),
    stages=stages(game, task, data),
    params=released,
    evals={"validation": Eval(data, games.make_validation(game), every=config.eval_every)},
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
    encoder=MLP(
      tuple(config.encoder_widths), config.latent, last_bias=False, dropout=config.dropout, dtype=dtype
    ),
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
      "refit": optax.chain(
        decay, optax.adam(optax.cosine_decay_schedule(config.refit_learning_rate, config.refit_steps))
      ),
    },
  )


def _fitted(config: Any, task: inputs.Task, data: Resident) -> Experiment:
  """A baseline: one step that does nothing after the split; fitting and audit are in the report."""

  def step(state, batch, t):
    return state, {"rows": (jnp.float32(task.n_rows), jnp.asarray(1.0))}

  return Experiment(
    init=start,
    stages=(Stage("split", 1, step, data, enter=learn(task)),),
    params=lambda state: {"scaler": state["scaler"]},
    report=make_report(task, config, None),
  )


def __getattr__(name: str):
  if name == "PrivacyEncoder":  # it stands on scikit-learn, which is slow to import
    from vita_jax.papers.pcal.estimator import PrivacyEncoder

    return PrivacyEncoder
  raise AttributeError(f"module 'vita_jax.papers.pcal' has no attribute '{name}'")
