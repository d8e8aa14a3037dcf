"""Training as stages: "teacher" (where no file has one), "slim", "finetune", and what is between them."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.compress import channel_widths, empty_channels, pruned_share
from vita_jax.data.image_pool import empty_pool
from vita_jax.data.resident import n_batches
from vita_jax.nn import features
from vita_jax.papers.gan_slimming.channels import check_floor, choose_channels
from vita_jax.papers.gan_slimming.data import Inputs, batches, middles
from vita_jax.papers.gan_slimming.model import Nets, init, started
from vita_jax.papers.gan_slimming.recipe import Phase, Recipe
from vita_jax.papers.gan_slimming.steps import slim_step, student_optimizers, teacher_optimizer, teacher_step
from vita_jax.train.experiment import Stage, State, Sweep


def stages(recipe: Recipe, nets: Nets, inputs: Inputs) -> tuple[Stage, ...]:
  """Returns the stages of a run.

  Raises:
    ValueError: a budget below the floor, or batches larger than the data.
    FileNotFoundError: no weights of the network that the distance to the teacher is computed on.
  """
  check_floor(recipe, nets)
  found = []
  if nets.loaded is None:
    data = batches(inputs, recipe.teacher.batch)
    step = partial(teacher_step, recipe, nets, n_batches(data))
    found.append(Stage("teacher", recipe.teacher.steps, step, data))
  name = recipe.objective.distance
  net = None if name == "mse" else features.load(name, form=recipe.form)
  started_already = nets.loaded is not None  # by `first_state`
  look = middles(inputs) if recipe.channels == "evolution" else None
  for title, phase in (("slim", recipe.slim), ("finetune", recipe.finetune)):
    if not phase.steps:
      continue
    data = batches(inputs, phase.batch)
    step = partial(slim_step, recipe, nets, net, phase, n_batches(data))
    enter = partial(_enter, recipe, nets, phase, n_batches(data), not started_already, look)
    found.append(Stage(title, phase.steps, step, data, enter=enter))
    started_already = True
  return tuple(found)


def first_state(recipe: Recipe, nets: Nets, key: jax.Array) -> State:
  """Returns the state that training starts from: a teacher to be trained, or the student of a given one."""
  generator_key, discriminator_key, key = jax.random.split(key, 3)
  size = recipe.data.crop
  generator = init(nets.teacher, generator_key, size)["params"]
  params = {
    "generator": generator,
    "discriminator": init(nets.discriminator, discriminator_key, size)["params"],
  }
  pool = empty_pool((size, size, 3), size=recipe.objective.pool)._asdict()
  state: State = {"params": params, "pool": pool, "key": key}
  if nets.loaded is not None:
    begun = {name: started(x, nets.loaded.get(name, {})) for name, x in params.items()}
    return student_state(recipe, nets, {**state, "params": begun})
  optimizer = teacher_optimizer(recipe.teacher, 1)
  return {**state, "tx": {name: optimizer.init(x) for name, x in params.items()}}


def student_state(recipe: Recipe, nets: Nets, state: State) -> State:
  """Makes the state of a student of the trained generator: dense initialisation, all channels kept."""
  teacher, key = state["params"]["generator"], jax.random.fold_in(state["key"], 1)
  fresh = init(nets.student, key, recipe.data.crop)
  student = fresh["params"]
  if recipe.student == "teacher":
    student = started(student, teacher)
  widths = channel_widths(student, nets.graph)
  new = {
    **state,
    "params": {**state["params"], "generator": student},
    "teacher": teacher,
    "kept": {name: jnp.ones(width, bool) for name, width in widths.items()},
    "pruned": jnp.zeros((), jnp.float32),
    "rho": jnp.full((), recipe.slim.rho, jnp.float32),
    "pool": {name: jnp.zeros_like(x) for name, x in state["pool"].items()},
  }
  return {**new, "clips": fresh["clips"]} if "clips" in fresh else new


def _enter(
  recipe: Recipe,
  nets: Nets,
  phase: Phase,
  per_epoch: int,
  starts: bool,
  look: np.ndarray | None,
  state: State,
  sweep: Sweep,
) -> State:
  """Starts a stage of the student: its optimizers, and in fine-tuning the choice of channels."""
  del sweep
  if starts:
    state = student_state(recipe, nets, state)
  if phase.fixed:
    state = _with_channels(recipe, nets, look, state)
  params = state["params"]
  optimizers = student_optimizers(nets, params["generator"], recipe.objective, phase, per_epoch)
  tx = {
    "generator": optimizers[0].init(params["generator"]),
    "discriminator": optimizers[1].init(params["discriminator"]),
  }
  return {**state, "tx": tx, "key": jax.random.fold_in(state["key"], 2)}


def _with_channels(recipe: Recipe, nets: Nets, look: np.ndarray | None, state: State) -> State:
  params = state["params"]
  if any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(params)):
    kept = state["kept"]  # only shapes are asked for; streamed data see to it that this is host code
  else:
    chosen = choose_channels(recipe, nets, state, jax.random.fold_in(state["key"], 3), look)
    kept = {name: jnp.asarray(mask) for name, mask in chosen.items()}
  generator = params["generator"]
  return {
    **state,
    "kept": kept,
    "pruned": pruned_share(generator, nets.graph),
    "params": {**params, "generator": empty_channels(generator, nets.graph, kept)},
  }
