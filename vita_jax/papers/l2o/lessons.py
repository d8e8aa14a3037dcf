"""One segment of an epoch and what theta learns from it: by its own optimization, or from a teacher's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vita_jax.optim import pes, segment
from vita_jax.optim.by_name import schedule_of, scheduled
from vita_jax.papers.l2o import tasks as streams
from vita_jax.papers.l2o.curriculum import TRAIN, VALIDATE
from vita_jax.papers.l2o.progress import State, metrics, over_tasks, segments, spent
from vita_jax.papers.l2o.recipe import Recipe
from vita_jax.papers.l2o.tasks import Problem, Task, loss_of, stream


class Lesson(NamedTuple):
  """A kind of epoch.

  Attributes:
    meta: name of its meta-optimizer: "self" or a teacher's.
    run: `(recipe, problem, theta, task, arrays, keys [T + 1]) -> (segment, task after it)`.
  """

  meta: str
  run: Callable


def self_training(gradient: str) -> Lesson:
  """Returns the lesson that follows theta's own optimization; its meta-gradient is "truncated" or "pes"."""
  return Lesson("self", _persistent if gradient == "pes" else _self_training)


def imitation(name: str) -> Lesson:
  """Returns the lesson that follows a teacher, by its name in the recipe."""
  return Lesson(name, functools.partial(_imitation, name))


def _meta_loss(recipe: Recipe, first_loss: jax.Array) -> Callable[[jax.Array], jax.Array]:
  if recipe.meta_loss == "sum":
    return lambda losses: jnp.mean(jnp.sum(losses, axis=0))
  return lambda losses: jnp.mean(jnp.log(losses / (first_loss + 1e-6) + 1e-6))


def builder(recipe: Recipe, problem: Problem, task: Task, keys: jax.Array) -> segment.Build:
  """Returns theta -> the optimizer, with the schedule over this optimization."""
  steps = task.length * recipe.unroll_length
  return lambda theta: scheduled(problem.build(theta, keys[0]), recipe.schedule, steps)


def _start_loss(recipe: Recipe, loss: Callable, task: Task, keys: jax.Array) -> jax.Array:
  """The unit of all losses of an optimization, where there is one."""
  if recipe.meta_loss != "log_ratio":
    return task.first_loss
  return jnp.where(task.age == 0, loss(task.x, keys[0]), task.first_loss)


def _self_training(
  recipe: Recipe, problem: Problem, theta: Any, task: Task, arrays: Any, keys: jax.Array
) -> tuple[Any, Task]:
  loss = loss_of(problem, task, arrays)
  start_loss = _start_loss(recipe, loss, task, keys)
  found = segment.self_training(
    builder(recipe, problem, task, keys),
    theta,
    loss,
    task.x,
    task.tx,
    keys,
    meta_loss=_meta_loss(recipe, start_loss),
    save_every=recipe.save_every,
  )
  return found, task._replace(x=found.x, tx=found.state, first_loss=start_loss)


def _persistent(
  recipe: Recipe, problem: Problem, theta: Any, task: Task, arrays: Any, keys: jax.Array
) -> tuple[Any, Task]:
  loss = loss_of(problem, task, arrays)
  start_loss = _start_loss(recipe, loss, task, keys)
  found = pes.persistent(
    builder(recipe, problem, task, keys),
    theta,
    loss,
    (task.x, task.tx),
    task.twin,
    task.noise,
    keys,
    step=pes.perturbation(stream(keys[0], streams.PERTURBATION), theta, recipe.sigma),
    sigma=recipe.sigma,
    meta_loss=_meta_loss(recipe, start_loss),
  )
  x, tx = found.plus
  return found, task._replace(x=x, tx=tx, twin=found.minus, noise=found.noise, first_loss=start_loss)


def _imitation(
  name: str, recipe: Recipe, problem: Problem, theta: Any, task: Task, arrays: Any, keys: jax.Array
) -> tuple[Any, Task]:
  found = segment.imitation(
    builder(recipe, problem, task, keys),
    theta,
    loss_of(problem, task, arrays),
    task.x,
    task.tx,
    keys[:-1],
    teacher=recipe.teachers[name],
    teacher_state=task.teachers[name],
    teacher_steps=recipe.teacher_steps,
    weight=1.0 if recipe.meta_loss == "sum" else 1.0 / recipe.unroll_length,
    save_every=recipe.save_every,
  )
  teachers = {**task.teachers, name: found.teacher}
  return found, task._replace(x=found.x, tx=found.state, teachers=teachers)


def train(recipe: Recipe, family: str, lesson: Lesson, state: State, arrays: Any) -> tuple[State, dict]:
  """Takes one segment of an epoch and one update of theta; ends the epoch where it is over."""
  gradient, losses, task = _meta_gradient(recipe, family, lesson, state, arrays)
  new = {**_update_theta(recipe, lesson, state, gradient), "task": {**state["task"], family: task}}
  new["inner_steps"] = state["inner_steps"] + recipe.unroll_length * recipe.meta_batch
  at_end = state["segment"] + 1 >= segments(recipe, state)
  epoch = state["epoch"] + at_end
  due = at_end & ((epoch % recipe.validation_every == 0) | spent(recipe, {**new, "epoch": epoch}))
  new |= {
    "epoch": epoch,
    "segment": jnp.where(at_end, 0, state["segment"] + 1),
    "phase": jnp.where(due, VALIDATE, TRAIN),
    "validations": state["validations"] + due,
    "round": jnp.zeros_like(state["round"]),
  }
  loss = jnp.mean(losses) / (recipe.unroll_length + 1 if recipe.meta_loss == "sum" else 1)
  return new, metrics(recipe, new, "self" if lesson.meta == "self" else "imitation", loss)


def _meta_gradient(
  recipe: Recipe, family: str, lesson: Lesson, state: State, arrays: Any
) -> tuple[Any, jax.Array, Task]:
  """(mean meta-gradient of the meta-batch, losses of its segments, the tasks after them)."""
  theta, problem = state["params"], recipe.problems[family]
  tag = streams.TRAIN if lesson.meta == "self" else streams.TEACHER
  key = stream(state["key"], tag, state["epoch"], state["segment"])

  def one(task, keys):
    found, after = lesson.run(recipe, problem, theta, task, arrays, keys)
    gradient = found.gradient
    if recipe.learns_start:
      more = segment.through_init(builder(recipe, problem, task, keys), theta, task.x, found.of_start)
      gradient = jax.tree.map(lambda g, m: g + jnp.where(task.age == 0, m, 0.0), gradient, more)
    return (gradient, found.loss), after._replace(age=task.age + 1)

  (gradients, losses), task = over_tasks(recipe, one, state["task"][family], key)
  if recipe.clips:
    return jax.tree.map(lambda g: jnp.mean(g, axis=0), gradients), losses, task
  return segment.mean_gradient(gradients, largest=recipe.clip_each), losses, task


def _update_theta(recipe: Recipe, lesson: Lesson, state: State, gradient: Any) -> State:
  """Steps the lesson's own meta-optimizer; an update that is not finite is left out and counted."""
  finite = jnp.stack([jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(gradient)]).all()
  if recipe.clips:
    finite = jnp.asarray(True)
    gradient = jax.tree.map(lambda g: jnp.where(jnp.isfinite(g), g, 0.0), gradient)
  theta, old = state["params"], state["meta"][lesson.meta]
  updates, memory = recipe.meta.update(gradient, old, theta)
  if recipe.meta_schedule != "constant":
    factor = schedule_of(recipe.meta_schedule, recipe.inner_steps)(state["inner_steps"])
    updates = jax.tree.map(lambda u: factor * u, updates)
  theta, memory = jax.tree.map(
    lambda new, old: jnp.where(finite, new, old), (optax.apply_updates(theta, updates), memory), (theta, old)
  )
  return {
    **state,
    "params": theta,
    "meta": {**state["meta"], lesson.meta: memory},
    "skipped": state["skipped"] + ~finite,
  }
