"""One step of meta-training is one segment of T steps of the optimizee: of an epoch or of a validation.

An epoch is one optimization of N steps from a fresh start, N / T segments, each followed by an update of
theta; it is a self-training or, by a coin, an imitation epoch. After every E epochs the optimizer is
validated: R optimizations of the next stage's length without an update; `curriculum.judge` says what
follows. All of it is in the state, so that a run resumes in the middle of anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vita_jax.papers.l2o import curriculum, segment
from vita_jax.papers.l2o import tasks as streams
from vita_jax.papers.l2o.curriculum import REBASE, TRAIN, VALIDATE
from vita_jax.papers.l2o.tasks import Problem, Task, stream, trajectory

State = dict[str, Any]


class Recipe(NamedTuple):
  """How theta is trained; the fields are those of the config, checked and resolved.

  Attributes:
    problem, teachers: what is optimized, and name -> optax transformation.
    meta: the optimizer of theta.
    lengths: N of each stage. unroll_length: T. ratios: share of imitation epochs of each stage.
    validation_every, validation_rounds, fixed_validation: E, R / meta_batch, and whether R never changes.
    patience, inner_steps, epochs: when training ends.
    meta_loss: "sum" | "log_ratio". meta_batch, side_by_side: optimizations at once, and how.
    teacher_steps, save_every: see `segment`.
    learns_start: the optimizer's first state depends on theta.
    clips: the meta-optimizer clips every entry, and so takes non-finite ones for zero.
  """

  problem: Problem
  teachers: Mapping[str, optax.GradientTransformation]
  meta: optax.GradientTransformation
  lengths: tuple[int, ...]
  unroll_length: int
  ratios: tuple[float, ...]
  validation_every: int
  validation_rounds: int
  fixed_validation: bool
  patience: str
  inner_steps: int
  epochs: int
  meta_loss: str
  meta_batch: int
  side_by_side: bool
  teacher_steps: int
  save_every: int
  learns_start: bool
  clips: bool


def start(recipe: Recipe, theta: Any, key: jax.Array) -> State:
  """The state before the first step."""
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
  """The step of the loop; batch: the arrays of the training images, whole."""
  lessons = [_self_training, *(_imitation(name) for name in recipe.teachers)]

  def step(state: State, batch: Any, t: jax.Array) -> tuple[State, dict]:
    del t
    state = _begin(recipe, state)
    branches = [lambda s, lesson=lesson: _train(recipe, lesson, s, batch) for lesson in lessons]
    branches.append(lambda s: _validate(recipe, s, batch))
    which = jnp.where(state["phase"] == TRAIN, state["lesson"], len(lessons))
    return jax.lax.switch(which, branches, state)

  return step


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
  fresh = lambda: _fresh(recipe, state["params"], _init_key(recipe, state))  # noqa: E731
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


def _validation_numbers(recipe: Recipe, state: State) -> tuple:
  return (0 if recipe.fixed_validation else state["validations"]), state["round"]


def _init_key(recipe: Recipe, state: State) -> jax.Array:
  training = stream(state["key"], streams.INIT, state["epoch"])
  validation = stream(state["key"], streams.VALIDATION_INIT, *_validation_numbers(recipe, state))
  return jax.random.wrap_key_data(
    jnp.where(state["phase"] == TRAIN, jax.random.key_data(training), jax.random.key_data(validation))
  )


def _over_tasks(recipe: Recipe, fn: Callable, task: Task, key: jax.Array) -> Any:
  """`fn(task, keys)` for each optimization of the meta-batch in turn, results with a leading axis
  [meta_batch]; side by side they are one task: [1]."""
  if recipe.side_by_side:
    gradient_and_more, after = fn(task, _minibatch_keys(recipe, key))
    return jax.tree.map(lambda x: x[None], gradient_and_more), after
  keys = jax.vmap(lambda k: _minibatch_keys(recipe, k))(jax.random.split(key, recipe.meta_batch))
  return jax.lax.map(lambda args: fn(*args), (task, keys))


def _minibatch_keys(recipe: Recipe, key: jax.Array) -> jax.Array:
  return jax.random.split(key, recipe.unroll_length + 1)


def _meta_loss(recipe: Recipe, first_loss: jax.Array) -> Callable[[jax.Array], jax.Array]:
  if recipe.meta_loss == "sum":
    return lambda losses: jnp.mean(jnp.sum(losses, axis=0))
  return lambda losses: jnp.mean(jnp.log(losses / (first_loss + 1e-6) + 1e-6))


def _self_training(recipe: Recipe, theta: Any, task: Task, first: jax.Array, arrays: Any, keys: jax.Array):
  """(segment, task after it); the name of its meta-optimizer is "self"."""
  loss = recipe.problem.loss(arrays)
  build = lambda theta: recipe.problem.build(theta, keys[0])  # noqa: E731
  start_loss = task.first_loss
  if recipe.meta_loss == "log_ratio":  # the unit of all losses of this optimization
    start_loss = jnp.where(first, loss(task.x, keys[0]), start_loss)
  found = segment.self_training(
    build,
    theta,
    loss,
    task.x,
    task.tx,
    keys,
    meta_loss=_meta_loss(recipe, start_loss),
    save_every=recipe.save_every,
  )
  return found, task._replace(x=found.x, tx=found.state, first_loss=start_loss)


_self_training.meta = "self"


def _imitation(name: str) -> Callable:
  """The lesson of a teacher: as `_self_training`, with that teacher's own meta-optimizer."""

  def lesson(recipe: Recipe, theta: Any, task: Task, first: jax.Array, arrays: Any, keys: jax.Array):
    del first
    found = segment.imitation(
      lambda theta: recipe.problem.build(theta, keys[0]),
      theta,
      recipe.problem.loss(arrays),
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

  lesson.meta = name
  return lesson


def _train(recipe: Recipe, lesson: Callable, state: State, arrays: Any) -> tuple[State, dict]:
  """One segment of an epoch, one update of theta, and the epoch's end where it is."""
  theta, first = state["params"], state["segment"] == 0
  tag = streams.TRAIN if lesson.meta == "self" else streams.TEACHER
  key = stream(state["key"], tag, state["epoch"], state["segment"])

  def one(task, keys):
    found, after = lesson(recipe, theta, task, first, arrays, keys)
    gradient = found.gradient
    if recipe.learns_start:
      build = lambda theta: recipe.problem.build(theta, keys[0])  # noqa: E731
      more = segment.through_init(build, theta, task.x, found.of_start)
      gradient = jax.tree.map(lambda g, m: g + jnp.where(first, m, 0.0), gradient, more)
    return (gradient, found.loss), after

  (gradients, losses), task = _over_tasks(recipe, one, state["task"], key)
  gradient = jax.tree.map(lambda g: jnp.mean(g, axis=0), gradients)
  finite = jnp.stack([jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(gradient)]).all()
  if recipe.clips:
    finite = jnp.asarray(True)
    gradient = jax.tree.map(lambda g: jnp.where(jnp.isfinite(g), g, 0.0), gradient)
  updates, memory = recipe.meta.update(gradient, state["meta"][lesson.meta], theta)
  take = lambda new, old: jnp.where(finite, new, old)  # noqa: E731
  new = {
    **state,
    "params": jax.tree.map(take, optax.apply_updates(theta, updates), theta),
    "meta": {**state["meta"], lesson.meta: jax.tree.map(take, memory, state["meta"][lesson.meta])},
    "task": task,
    "inner_steps": state["inner_steps"] + recipe.unroll_length * recipe.meta_batch,
    "skipped": state["skipped"] + ~finite,
  }
  lengths = jnp.array(recipe.lengths, jnp.int32) // recipe.unroll_length
  at_end = state["segment"] + 1 >= lengths[state["curriculum"].stage]
  epoch = state["epoch"] + at_end
  due = at_end & ((epoch % recipe.validation_every == 0) | _spent(recipe, {**new, "epoch": epoch}))
  new |= {
    "epoch": epoch,
    "segment": jnp.where(at_end, 0, state["segment"] + 1),
    "phase": jnp.where(due, VALIDATE, TRAIN),
    "validations": state["validations"] + due,
    "round": jnp.zeros_like(state["round"]),
  }
  loss = jnp.mean(losses) / (recipe.unroll_length + 1)
  return new, _metrics(recipe, new, "self" if lesson.meta == "self" else "imitation", loss)


def _spent(recipe: Recipe, state: State) -> jax.Array:
  """Whether the budget of epochs or of inner steps is used up."""
  spent = state["epoch"] >= recipe.epochs
  return spent | (state["inner_steps"] >= recipe.inner_steps) if recipe.inner_steps else spent


def _validate(recipe: Recipe, state: State, arrays: Any) -> tuple[State, dict]:
  """One segment of a validation run; after the last one of the last run, the verdict."""
  steps = recipe.unroll_length
  numbers = _validation_numbers(recipe, state)
  key = stream(state["key"], streams.VALIDATION, *numbers, state["segment"])

  def one(task, keys):
    tx = recipe.problem.build(state["params"], keys[0])
    x, tx_state, losses = trajectory(tx, recipe.problem.loss(arrays), task.x, task.tx, keys)
    return losses, task._replace(x=x, tx=tx_state)

  losses, task = _over_tasks(recipe, one, state["task"], key)  # losses [tasks, T + 1, ...]
  # The next stage's length; the last stage is validated at its own.
  lengths = jnp.array((*recipe.lengths[1:], recipe.lengths[-1]), jnp.int32) // steps
  count = lengths[state["curriculum"].stage]
  left = count - state["segment"] - 1
  cost = jnp.mean(jnp.sum(losses, axis=1)) if recipe.meta_loss == "sum" else jnp.mean(losses[:, -1])
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
    "task": task,
    "segment": jnp.where(run_ends, 0, state["segment"] + 1),
    "round": state["round"] + run_ends,
    "sums": jax.tree.map(lambda s: jnp.where(ends, 0.0, s), sums),
    "validation": jax.tree.map(lambda s, old: jnp.where(ends, s, old), sums, state["validation"]),
  }
  new = jax.tree.map(lambda a, b: jnp.where(ends, a, b), _decide(recipe, new), new)
  values = _metrics(recipe, new, "validation", None)
  return new, values | {
    f"validation_{name}": _counted(value, ends) for name, value in new["validation"].items()
  }


def _decide(recipe: Recipe, state: State) -> State:
  """After a validation: sets the bar of a stage, or judges and goes on as the rule says."""
  cost = state["validation"]["cost"]
  judged, verdict = curriculum.judge(
    state["curriculum"], cost, stages=len(recipe.lengths), patience=recipe.patience
  )
  rebasing = state["phase"] == REBASE
  based = curriculum.rebase(state["curriculum"], cost)
  keep, restore = verdict.keep & ~rebasing, verdict.restore & ~rebasing
  kept = jax.tree.map(lambda new, old: jnp.where(keep, new, old), state["params"], state["kept"])
  again = ~rebasing & (verdict.next == REBASE)
  over = (judged.over & ~rebasing) | _spent(recipe, state)
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


def _counted(value: jax.Array, counts: Any) -> tuple[jax.Array, jax.Array]:
  """(sum, weight) of a value that may be absent or not finite: then with weight 0."""
  good = jnp.isfinite(value) & counts
  return jnp.where(good, value, 0.0), good.astype(jnp.float32)


def _metrics(recipe: Recipe, state: State, phase: str, loss: jax.Array | None) -> dict:
  one = jnp.ones((), jnp.float32)
  number = lambda x: (jnp.asarray(x, jnp.float32), one)  # noqa: E731
  found = {
    "self_loss": _counted(loss if phase == "self" else one, phase == "self"),
    "stage": number(state["curriculum"].stage),
    "epoch": number(state["epoch"]),
    "inner_steps": number(state["inner_steps"]),
    "skipped": number(state["skipped"]),
    "best": _counted(state["curriculum"].best, True),
  }
  if recipe.teachers:
    found["imitation_loss"] = _counted(loss if phase == "imitation" else one, phase == "imitation")
  return found | {f"validation_{n}": _counted(one, False) for n in state["validation"]}
