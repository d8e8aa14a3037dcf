"""PCAL: privacy-preserving credit modelling by adversarial learning (arXiv 2010.02529, 2020).

Claim: an encoder trained against adversaries gives a representation that predicts credit risk about as well
as the raw data, while private attributes can hardly be told from it, better than off-the-shelf options do.

This is no differential privacy. What is shown is an empirical bound over the attackers that were tried.
"""

from __future__ import annotations

import functools
from typing import Any

from vita_jax._lazy import submodules
from vita_jax.audit.baselines import BASELINES, REFERENCES
from vita_jax.data.resident import Resident
from vita_jax.papers.pcal import steps
from vita_jax.papers.pcal.data import Task, make_task, read
from vita_jax.papers.pcal.export import final_params, make_export
from vita_jax.papers.pcal.game import make_game
from vita_jax.papers.pcal.recipe import METHODS, Recipe, check, default_config, recipe_of
from vita_jax.papers.pcal.report import EVAL, encode_all, report
from vita_jax.papers.pcal.stages import initial, split_stage, stages, start
from vita_jax.train.experiment import Eval, Experiment, State

__all__ = [
  "METHODS",
  "PrivacyEncoder",
  "Recipe",
  "Task",
  "build",
  "check",
  "default_config",
  "experiment",
  "make_game",
  "make_task",
  "read",
  "recipe_of",
]


def build(config: Any) -> Experiment:
  """Builds the experiment of a config: reads the table, checks the task.

  Args:
    config: from `configs/pcal/*.py`; `recipe.KEYS` explains every key.

  Raises:
    ValueError, FileNotFoundError: an unknown option, missing or unusable data (see `data`).
  """
  check(config)
  table, schema = read(config)
  task = make_task(
    table, schema, attributes=tuple(config.attributes), variant=config.variant, group=config.data.group
  )
  return experiment(config, task)


def experiment(config: Any, task: Task) -> Experiment:
  """Builds the experiment of a config on a task: the game, the autoencoder, or a baseline only fitted."""
  recipe = recipe_of(config)
  rows = Resident(task.arrays)
  if recipe.method in BASELINES or recipe.method in REFERENCES:
    return Experiment(
      init=start,
      stages=(split_stage(task, rows),),
      params=_scaler,
      report=functools.partial(report, task, recipe, None),
    )
  game = make_game(recipe, task)
  return Experiment(
    init=functools.partial(initial, game),
    stages=stages(game, task, rows),
    params=final_params,
    evals={EVAL: Eval(rows, functools.partial(steps.validate, game), every=recipe.eval_every)},
    report=functools.partial(report, task, recipe, functools.partial(encode_all, game)),
    export=functools.partial(make_export, game),
  )


def _scaler(state: State) -> dict[str, Any]:
  return {"scaler": state["scaler"]}


_module, __dir__ = submodules(__name__)


def __getattr__(name: str) -> Any:
  if name == "PrivacyEncoder":  # it stands on scikit-learn, which is slow to import
    from vita_jax.papers.pcal.estimator import PrivacyEncoder

    return PrivacyEncoder
  return _module(name)
