"""Validation of theta: R optimizations of the next stage's length without an update, then a verdict.

`curriculum.judge` says what follows; here that is done to the state.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.optim.segment import trajectory
from vita_jax.papers.l2o import curriculum
from vita_jax.papers.l2o import tasks as streams
from vita_jax.papers.l2o.curriculum import REBASE, TRAIN
from vita_jax.papers.l2o.lessons import builder
from vita_jax.papers.l2o.progress import State, counted, metrics, over_tasks, slot, spent, validation_segments
from vita_jax.papers.l2o.recipe import Recipe
from vita_jax.papers.l2o.tasks import loss_of, stream


def draws(recipe: Recipe, state: State) -> tuple:
  """Returns the counters that this validation run's random numbers depend on."""
  return (0 if recipe.fixed_validation else state["validations"]), state["round"]


def validate(recipe: Recipe, family: str, state: State, arrays: Any) -> tuple[State, dict]:
  """Takes one segment of a validation run; after the last one of the last run, decides what follows."""
  steps = recipe.unroll_length
  key = stream(state["key"], streams.VALIDATION, *draws(recipe, state), state["segment"])

  problem, name = recipe.problems[family], slot(recipe, family, True)

  def one(task, keys):
    tx = builder(recipe, problem, task, keys)(state["params"])
    x, tx_state, losses = trajectory(tx, loss_of(problem, task, arrays), task.x, task.tx, keys)
    start = jnp.where(task.age == 0, losses[0], task.first_loss)
    return losses, task._replace(x=x, tx=tx_state, first_loss=start, age=task.age + 1)

  losses, task = over_tasks(recipe, one, state["task"][name], key)  # losses [tasks, T + 1, ...]
  count = validation_segments(recipe, state)
  left = count - state["segment"] - 1
  cost = jnp.mean(jnp.sum(losses, axis=1)) if recipe.meta_loss == "sum" else jnp.mean(losses[:, -1])
  if recipe.is_mixture:  # losses of problems have units of their own
    cost = jnp.mean(jnp.log(jnp.mean(losses, axis=1) / (task.first_loss + 1e-6) + 1e-6))
  runs = recipe.validation_rounds
  late = jnp.minimum(count, max(100 // steps, 1))  # segments of the last 100 steps
  mean = jnp.mean(losses[:, :-1])
  more = {
    "cost": jnp.where(left == 0, cost / runs, 0.0),
    "trajectory": mean / (count * runs),
    "late": jnp.where(left < late, mean / (late * runs), 0.0),
  }
  sums = jax.tree.map(jnp.add, state["sums"], more)
  run_ends = left == 0
  ends = run_ends & (state["round"] + 1 >= runs)
  new = {
    **state,
    "task": {**state["task"], name: task},
    "segment": jnp.where(run_ends, 0, state["segment"] + 1),
    "round": state["round"] + run_ends,
    "sums": jax.tree.map(lambda s: jnp.where(ends, 0.0, s), sums),
    "validation": jax.tree.map(lambda s, old: jnp.where(ends, s, old), sums, state["validation"]),
  }
  new = jax.tree.map(lambda a, b: jnp.where(ends, a, b), _decide(recipe, new), new)
  values = metrics(recipe, new, "validation")
  return new, values | {
    f"validation_{name}": counted(value, ends) for name, value in new["validation"].items()
  }


def _decide(recipe: Recipe, state: State) -> State:
  """After a validation: sets the bar of a stage, or judges and does what the rule says."""
  cost = state["validation"]["cost"]
  judged, verdict = curriculum.judge(
    state["curriculum"], cost, stages=len(recipe.lengths), patience=recipe.patience
  )
  rebasing = state["phase"] == REBASE
  based = curriculum.rebase(state["curriculum"], cost)
  keep, restore = verdict.keep & ~rebasing, verdict.restore & ~rebasing
  kept = jax.tree.map(lambda new, old: jnp.where(keep, new, old), state["params"], state["kept"])
  again = ~rebasing & (verdict.next == REBASE)
  over = (judged.over & ~rebasing) | spent(recipe, state)
  return {
    **state,
    "curriculum": jax.tree.map(lambda a, b: jnp.where(rebasing, a, b), based, judged),
    "kept": kept,
    "params": jax.tree.map(lambda best, now: jnp.where(restore, best, now), kept, state["params"]),
    "phase": jnp.where(again, REBASE, TRAIN),
    "validations": state["validations"] + again,
    "round": jnp.zeros_like(state["round"]),
    "over": over,
  }
