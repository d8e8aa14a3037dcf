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
from vita_jax.optim.by_name import scheduled
from vita_jax.papers.l2o import curriculum
from vita_jax.papers.l2o import tasks as streams
from vita_jax.papers.l2o.curriculum import TRAIN
from vita_jax.papers.l2o.lessons import imitation, self_training, train
from vita_jax.papers.l2o.progress import State, lengths, slot
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
    "task": {slot: _fresh(recipe, family, theta, key) for slot, family in _slots(recipe).items()},
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
  lessons = [self_training(recipe.gradient), *(imitation(name) for name in recipe.teachers)]
  trained = [(family, lesson) for family in recipe.families for lesson in lessons]

  def step(state: State, batch: Any, t: jax.Array) -> tuple[State, dict]:
    state = _begin(recipe, state)
    branches = [functools.partial(train, recipe, *one, arrays=batch) for one in trained]
    branches += [functools.partial(validate, recipe, family, arrays=batch) for family in recipe.validated]
    of_family, of_validated = _families(recipe, state)
    which = jnp.where(
      state["phase"] == TRAIN, of_family * len(lessons) + state["lesson"], len(trained) + of_validated
    )
    state, found = jax.lax.switch(which, branches, state)
    return state, {n: x if n.endswith("_loss") else _observed(x, t + 1) for n, x in found.items()}

  return step


def _observed(pair: tuple[jax.Array, jax.Array], at: jax.Array) -> Last:
  """A number that stands where it was found: a mean over steps would be one that no step had."""
  value, weight = pair
  return last(value, at=at, when=weight > 0)


def _slots(recipe: Recipe) -> dict[str, str]:
  """Name of an optimization in progress in the state -> its problem."""
  return {
    slot(recipe, f, held): f for held in (False, True) for f in (recipe.families, recipe.validated)[held]
  }


def _families(recipe: Recipe, state: State) -> tuple[Any, Any]:
  """(which of the training families this epoch's is, which of the validated ones this round's is)."""
  of_epoch: Any = 0
  of_round = state["round"] % len(recipe.validated)
  if len(recipe.families) > 1:
    shares = jnp.log(jnp.array(list(recipe.families.values()), jnp.float32))
    of_epoch = jax.random.categorical(stream(state["key"], streams.FAMILY, state["epoch"]), shares)
  return of_epoch, of_round


def _fresh(recipe: Recipe, family: str, theta: Any, key: jax.Array, *, held: bool = False) -> Task:
  problem, largest = recipe.problems[family], 1.0 if held else recipe.reparametrise

  def one(key):
    x, factors = problem.init(key), ()
    if recipe.reparametrise > 1:
      factors = problem.factors(stream(key, streams.FACTORS), largest)  # validated as they are
      x = jax.tree.map(jnp.divide, x, factors)
    tx = scheduled(problem.build(theta, key), recipe.schedule, 1).init(x)
    first_loss = jnp.zeros((recipe.meta_batch,) if recipe.side_by_side else (), jnp.float32)
    none = jnp.zeros((), jnp.int32)
    teachers = {n: t.init(x) for n, t in recipe.teachers.items()}
    task = Task(x, tx, teachers, first_loss, factors, age=none, length=none)
    if recipe.gradient == "pes":
      task = task._replace(twin=(x, tx), noise=jax.tree.map(jnp.zeros_like, theta))
    return task

  return one(key) if recipe.side_by_side else jax.vmap(one)(jax.random.split(key, recipe.meta_batch))


def _begin(recipe: Recipe, state: State) -> State:
  """At the start of an epoch or of a validation run: a new optimization, and what is learned from it."""
  first, training = state["segment"] == 0, state["phase"] == TRAIN
  task = _begun(recipe, state)
  if not recipe.teachers:
    return {**state, "task": task}
  ratios = jnp.array(recipe.ratios, jnp.float32)
  ratio = ratios[jnp.minimum(state["curriculum"].stage, len(recipe.ratios) - 1)]
  imitates = jax.random.uniform(stream(state["key"], streams.COIN, state["epoch"])) < ratio
  lesson = jnp.where(imitates, 1 + state["imitations"] % len(recipe.teachers), 0)
  new_epoch = first & training
  imitations = state["imitations"] + (new_epoch & imitates)
  return {
    **state,
    "task": task,
    "lesson": jnp.where(new_epoch, lesson, state["lesson"]),
    "imitations": imitations,
  }


def _begun(recipe: Recipe, state: State) -> dict[str, Task]:
  """The optimizations in progress, with those that begin at this segment begun anew."""
  key, old = _init_key(recipe, state), state["task"]

  def anew(family, held):
    name = slot(recipe, family, held)
    task = _fresh(recipe, family, state["params"], key, held=held)
    task = task._replace(length=lengths(recipe, state, old[name].length))
    if recipe.staggered and not held:
      over = _is_over(old[name])
      task = jax.tree.map(
        lambda new, old: jnp.where(over.reshape(-1, *(1,) * (new.ndim - 1)), new, old), task, old[name]
      )
    return {**old, name: task}

  of_family, of_validated = _families(recipe, state)
  due, training = state["segment"] == 0, state["phase"] == TRAIN
  if len(recipe.problems) == 1 and not recipe.staggered:
    (family,) = recipe.problems
    return jax.lax.cond(due, lambda: anew(family, False), lambda: old)
  if recipe.staggered:
    any_over = jnp.stack([jnp.any(_is_over(old[family])) for family in recipe.families])
    due = jnp.where(training, any_over[of_family], due)
  trained = [functools.partial(anew, family, False) for family in recipe.families]
  held = [functools.partial(anew, family, True) for family in recipe.validated]
  which = jnp.where(training, of_family, len(trained) + of_validated)
  return jax.lax.cond(due, lambda: jax.lax.switch(which, trained + held), lambda: old)


def _is_over(task: Task) -> jax.Array:
  return task.age >= task.length


def _init_key(recipe: Recipe, state: State) -> jax.Array:
  within = (state["segment"],) if recipe.staggered else ()
  training = stream(state["key"], streams.INIT, state["epoch"], *within)
  validation = stream(state["key"], streams.VALIDATION_INIT, *draws(recipe, state))
  return jax.random.wrap_key_data(
    jnp.where(state["phase"] == TRAIN, jax.random.key_data(training), jax.random.key_data(validation))
  )
