"""L2O: Training Stronger Baselines for Learning to Optimize (NeurIPS 2020, arXiv 2010.09089).

Claim: with a curriculum (progressively longer optimizations) and imitation of analytical optimizers, the
oldest and simplest learned optimizer, a coordinate-wise LSTM of 5,141 weights, beats later, larger ones.
The optimizers are in `vita_jax.optim`; here is how they are trained and compared.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
from jax.sharding import PartitionSpec as P

from vita_jax._lazy import submodules
from vita_jax.data.images import load_images
from vita_jax.data.resident import Resident
from vita_jax.optim import KINDS
from vita_jax.optim.optimizees import optimizee
from vita_jax.papers.l2o import optimize, report, resume, steps, tasks
from vita_jax.papers.l2o.export import make_export
from vita_jax.papers.l2o.recipe import (
  KEYS,
  Recipe,
  check,
  default_config,
  most_steps,
  optimize_config,
  recipe_of,
)
from vita_jax.train.experiment import Eval, Experiment, Stage, State

__all__ = ["KEYS", "build", "check", "default_config", "optimize_config"]

__getattr__, __dir__ = submodules(__name__)


def build(config: Any) -> Experiment:
  """Builds the experiment of a config: meta-trains a learned optimizer, or runs one (`config.experiment`).

  Args:
    config: from `configs/l2o/*.py`; `recipe.KEYS` explains every key.

  Raises:
    ValueError, FileNotFoundError: an option that cannot be, or missing data.
  """
  check(config)
  return optimize.build(config) if config.experiment == "optimize" else _meta_training(config)


def _meta_training(config: Any) -> Experiment:
  recipe = recipe_of(config)
  data = {optimizee(name).data for name in recipe.problems} - {""}
  images = load_images(data.pop()) if data else None
  train, test = (Resident(arrays, None) for arrays in ((images.train, images.test) if images else ({}, {})))
  stage = Stage("meta_train", most_steps(recipe), steps.make_step(recipe), train, done=_is_over)
  named = list(config.mixture.tasks) or config.optimizee.name
  trained_on = {"optimizee": named, "stages": list(recipe.lengths)}
  return Experiment(
    init=functools.partial(_init, recipe, config.resume_from),
    stages=(stage,),
    params=_kept,
    evals={"final": Eval(test, functools.partial(report.final, recipe), every=0)},
    shard=_sharded(recipe.kind) if recipe.side_by_side else ((".*", P()),),
    report=functools.partial(report.report, recipe),
    export=lambda state: make_export(recipe.kind, recipe.options, state["kept"], trained_on),
  )


def _init(recipe: Recipe, resume_from: str, key: jax.Array) -> State:
  theta = KINDS[recipe.kind].init_theta(jax.random.fold_in(key, tasks.INIT))
  state = steps.start(recipe, theta, key)
  return resume.resumed(state, resume_from) if resume_from else state


def _is_over(state: State, t: jax.Array) -> jax.Array:
  return state["over"]


def _kept(state: State) -> Any:
  return state["kept"]


def _sharded(kind: str) -> tuple[tuple[str, P], ...]:
  """Optimizations side by side lie along the mesh axis `data`; theta is everywhere."""
  whole = (("task/[^/]*/(noise/.*|age|length|tx/1/count|twin/1/1/count)", P()),)
  if not KINDS[kind].coordinatewise:
    return (*whole, ("task/.*", P("data")), (".*", P()))
  return (
    ("task/[^/]*/(tx|twin/1)/(0/)?((plus|minus)/)?[hc][12]", P(None, "data")),  # features lead
    *whole,
    ("task/.*count", P()),
    ("task/.*", P("data")),
    (".*", P()),
  )
