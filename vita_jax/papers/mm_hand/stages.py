"""Training as stages: "depth" where depth maps are learned, "coarse" for two stages, "train"."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from vita_jax.data.image_pool import empty_pool_like
from vita_jax.data.resident import n_batches
from vita_jax.papers.mm_hand.data import Inputs, batches
from vita_jax.papers.mm_hand.model import Nets, init
from vita_jax.papers.mm_hand.recipe import Phase, Recipe
from vita_jax.papers.mm_hand.steps import OPTIMIZER, gan_step, phase_steps
from vita_jax.pose.skeletons import HAND
from vita_jax.train.experiment import Stage, State, Sweep


def stages(recipe: Recipe, nets: Nets, inputs: Inputs) -> tuple[Stage, ...]:
  """Returns the stages of a run; of copied sources there is none.

  Raises:
    ValueError: batches larger than the data.
  """
  found = []
  for i, phase in enumerate(recipe.phases):
    rows, also = batches(inputs, recipe.train.batch)
    per_epoch = n_batches(rows)
    step = partial(gan_step, recipe, nets, phase, per_epoch)
    enter = partial(stage_state, recipe, phase, i)
    found.append(Stage(phase.name, phase_steps(recipe, phase, per_epoch), step, rows, also=also, enter=enter))
  return tuple(found)


def first_state(recipe: Recipe, nets: Nets, key: jax.Array) -> State:
  """Returns the state that training starts from: every network of the run, drawn."""
  draw, key = jax.random.split(key)
  if nets.generator is None:
    return {"params": {"nothing": jnp.zeros(())}, "stats": {}, "key": key}  # files of no arrays are refused
  return {**init(recipe, nets, draw), "key": key}


def stage_state(recipe: Recipe, phase: Phase, number: int, state: State, sweep: Sweep) -> State:
  """Starts a stage: optimizers of what it trains, and empty pools."""
  del sweep
  learning = (phase.net, *(f"judge_{name}" for name in phase.judges))
  return {
    **state,
    "tx": {name: OPTIMIZER.init(state["params"][name]) for name in learning},
    "pools": {
      name: empty_pool_like(pool_entry(recipe, name), size=phase.pool)._asdict() for name in phase.judges
    },
    "key": jax.random.fold_in(state["key"], number + 1),
  }


def pool_entry(recipe: Recipe, name: str) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns the shapes of what the pool of a judge keeps: pictures, never the maps of their poses."""
  size, joints = recipe.size, HAND.n_keypoints
  channels = 1 if name == "depth" else 3
  found = {"image": jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)}
  if name == "appearance":
    found["source"] = jax.ShapeDtypeStruct((1, size, size, 3), jnp.uint8)
  if name in ("shape", "joints", "depth"):
    found["uv"] = jax.ShapeDtypeStruct((1, joints, 2), jnp.float32)
  if name in ("joints", "depth"):
    found["z"] = jax.ShapeDtypeStruct((1, joints), jnp.float32)
  return found
