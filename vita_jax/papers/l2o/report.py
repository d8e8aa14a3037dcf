"""After meta-training: whole optimizations with the best weights, and the numbers of the run."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.optim.by_name import scheduled
from vita_jax.optim.optimizees import late_log_loss, optimize
from vita_jax.papers.l2o import tasks
from vita_jax.papers.l2o.recipe import Recipe
from vita_jax.train.experiment import Evaluate, Metrics, Report, State, Sweep


def final(recipe: Recipe, state: State, batch: Any) -> Metrics:
  """Runs `final_runs` optimizations of each validated problem: final ln loss, and the share that diverged."""

  def one(problem, key):
    init_key, run_key = jax.random.split(key)
    tx = scheduled(problem.build(state["kept"], init_key), recipe.schedule, recipe.final_steps)
    loss = problem.loss(batch)
    _, losses = optimize(tx, loss, problem.init(init_key), run_key, steps=recipe.final_steps)
    return losses[0], late_log_loss(losses), losses[-1]

  keys = jax.random.split(tasks.stream(state["key"], tasks.FINAL), recipe.final_runs)
  found = [jax.lax.map(functools.partial(one, recipe.singles[family]), keys) for family in recipe.validated]
  first, late, last = (jnp.concatenate(x) for x in zip(*found, strict=True))
  runs = jnp.asarray(late.size, jnp.float32)
  diverged = ~(jnp.isfinite(late) & (last <= first))
  return {"ln_loss": (jnp.sum(late), runs), "diverged": (jnp.sum(diverged, dtype=jnp.float32), runs)}


def report(recipe: Recipe, state: State, evaluate: Evaluate, sweep: Sweep) -> Report:
  """Reports the final optimizations, and where training ended; warns where all of them diverged."""
  del sweep
  numbers = {f"final_{name}": value for name, value in evaluate("final", state).items()}
  best = state["curriculum"].best
  if numbers["final_diverged"] == 1.0:
    found = "the best of training" if jnp.isfinite(best) else "those it started with"
    warnings.warn(
      f"all {recipe.final_runs} final optimizations diverged: the weights kept are {found}; train longer,"
      " or lower config.meta.learning_rate",
      stacklevel=2,
    )
  for name in ("inner_steps", "epoch", "skipped", "validations"):
    numbers[name] = int(state[name])
  return Report({**numbers, "stage": int(state["curriculum"].stage), "best": float(best)})
