"""One step of meta-training is one segment of T steps of the optimizee: of an epoch or of a validation.

An epoch is one optimization of N steps from a fresh start: N / T segments, each followed by an update of
theta. A coin decides whether it is a self-training or an imitation epoch (`lessons`). After every E epochs
the optimizer is validated (`validation`). All of it is in the state: a run resumes in the middle of anything.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.metrics import Last, last
from vita_jax.papers.l2o import curriculum
from vita_jax.papers.l2o import tasks as streams
from vita_jax.papers.l2o.curriculum import TRAIN
from vita_jax.papers.l2o.lessons import imitation, self_training, train
from vita_jax.papers.l2o.progress import State
from vita_jax.papers.l2o.recipe import Recipe
from vita_jax.papers.l2o.tasks import Task, stream
from vita_jax.papers.l2o.validation import draws, validate


def start(recipe: Recipe, theta: Any, key: jax.Array) -> State:
  """Makes the state before the first step."""
  zero = jnp.zeros((), jnp.int32)
  nothing = jnp.zeros((), jnp.float32)
  return {
    "params": theta,
    "kept": theta,
    "meta": {name: recipe.meta.init(theta) for name in ("self", *recipe.teachers)},
    "task": _fresh(recipe, theta, key),
    "curriculum": curriculum.start(),
    "phase": zero,  # TRAIN | VALIDATE | REBASE
    "lesson": zero,  # of a training epoch: 0 self-training, i + 1 the i-th teacher
    "segment": zero,  # within the epoch or the validation run
    "epoch": zero,
    "imitations": zero,
    "validations": zero,
    "round": zero,
    "sums": {"cost": nothing, "trajectory": nothing, "late": nothing},  # of the validation in progress
    "validation": {"cost": nothing, "trajectory": nothing, "late": nothing},  # the last one
    "inner_steps": zero,
    "skipped": zero,
    "over": jnp.asarray(False),
    "key": key,
  }


def make_step(recipe: Recipe) -> Callable[[State, Any, jax.Array], tuple[State, dict]]:
  """Makes the step of the loop; batch: the arrays of the training images, whole."""
  lessons = [self_training(), *(imitation(name) for name in recipe.teachers)]

  def step(state: State, batch: Any, t: jax.Array) -> tuple[State, dict]:
    state = _begin(recipe, state)
    branches = [functools.partial(train, recipe, lesson, arrays=batch) for lesson in lessons]
    branches.append(functools.partial(validate, recipe, arrays=batch))
    which = jnp.where(state["phase"] == TRAIN, state["lesson"], len(lessons))
    state, found = jax.lax.switch(which, branches, state)
    return state, {n: x if n.endswith("_loss") else _observed(x, t + 1) for n, x in found.items()}

  return step


def _observed(pair: tuple[jax.Array, jax.Array], at: jax.Array) -> Last:
  """A number that stands where it was found: a mean over steps would be one that no step had."""
  value, weight = pair
  return last(value, at=at, when=weight > 0)


def _fresh(recipe: Recipe, theta: Any, key: jax.Array) -> Task:
  def one(key):
    x = recipe.problem.init(key)
    tx = recipe.problem.build(theta, key).init(x)
    first_loss = jnp.zeros((recipe.meta_batch,) if recipe.side_by_side else (), jnp.float32)
    return Task(x, tx, {n: t.init(x) for n, t in recipe.teachers.items()}, first_loss)

  return one(key) if recipe.side_by_side else jax.vmap(one)(jax.random.split(key, recipe.meta_batch))


def _begin(recipe: Recipe, state: State) -> State:
  """At the start of an epoch or of a validation run: a new optimization, and what is learned from it."""
  first, training = state["segment"] == 0, state["phase"] == TRAIN
  fresh = functools.partial(_fresh, recipe, state["params"], _init_key(recipe, state))
  task = jax.lax.cond(first, fresh, lambda: state["task"])
  if not recipe.teachers:
    return {**state, "task": task}
  ratios = jnp.array(recipe.ratios, jnp.float32)
  ratio = ratios[jnp.minimum(state["curriculum"].stage, len(recipe.ratios) - 1)]
  imitates = jax.random.uniform(stream(state["key"], streams.COIN, state["epoch"])) < ratio
  lesson = jnp.where(imitates, 1 + state["imitations"] % len(recipe.teachers), 0)
  begins = first & training
  imitations = state["imitations"] + (begins & imitates)
  return {
    **state,
    "task": task,
    "lesson": jnp.where(begins, lesson, state["lesson"]),
    "imitations": imitations,
  }


def _init_key(recipe: Recipe, state: State) -> jax.Array:
  training = stream(state["key"], streams.INIT, state["epoch"])
  validation = stream(state["key"], streams.VALIDATION_INIT, *draws(recipe, state))
  return jax.random.wrap_key_data(
    jnp.where(state["phase"] == TRAIN, jax.random.key_data(training), jax.random.key_data(validation))
  )
