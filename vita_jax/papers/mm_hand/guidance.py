"""What guides a generator: maps of a pose, made inside the step from its joints alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vita_jax.hands import capsule_depth, heat_maps, joints_map
from vita_jax.papers.mm_hand.recipe import Recipe
from vita_jax.pose.skeletons import HAND

# Channels of each modality of one pose; depth and joints three times the same, as released.
CHANNELS = {"pose": HAND.n_keypoints, "depth": 3, "joints": 3}


class Pose(NamedTuple):
  """Joints of `HAND`: `uv` float32 [n, 21, 2] in pixels, `z` float32 [n, 21] in mm."""

  uv: jax.Array
  z: jax.Array


DepthOf = Callable[[Pose], jax.Array]  # -> [n, S, S, 1] in [-1, 1]


def scaled_depth(depth: jax.Array, far: float) -> jax.Array:
  """Returns 2 d / far - 1, clipped to [-1, 1]: by fixed constants, so that two maps can be compared."""
  return jnp.clip(2.0 * depth / far - 1.0, -1.0, 1.0)


def analytic_depth(recipe: Recipe, pose: Pose) -> jax.Array:
  """Draws the depth of capsules around the bones, scaled: [n, S, S, 1]."""
  far = recipe.depth.far
  return scaled_depth(capsule_depth(pose.uv, pose.z, size=recipe.size, far=far), far)[..., None]


def drawn_joints(recipe: Recipe, pose: Pose) -> jax.Array:
  """Draws the joints map in [-1, 1]: [n, S, S, 1]."""
  return joints_map(pose.uv, pose.z, size=recipe.size)[..., None] / 127.5 - 1.0


def depth_inputs(recipe: Recipe, pose: Pose) -> jax.Array:
  """Joins what the network of depth sees: joints map and heat maps, [n, S, S, 22]."""
  return jnp.concatenate([drawn_joints(recipe, pose), heat_maps(pose.uv, size=recipe.size)], axis=-1)


def maps_of(recipe: Recipe, modality: str, pose: Pose, depth: DepthOf) -> jax.Array:
  """Draws one modality of poses: [n, S, S, CHANNELS[modality]].

  Args:
    recipe: the settings.
    modality: "pose": heat maps in [0, 1]; "depth": `depth`; "joints": `drawn_joints`.
    pose: the joints.
    depth: where depth maps come from, the same for training and later.
  """
  if modality == "pose":
    return heat_maps(pose.uv, size=recipe.size)
  one = depth(pose) if modality == "depth" else drawn_joints(recipe, pose)
  return jnp.broadcast_to(one, (*one.shape[:-1], CHANNELS[modality]))


def streams_of(
  recipe: Recipe, source: jax.Array, first: Pose, second: Pose, depth: DepthOf
) -> tuple[jax.Array, ...]:
  """Returns what the generator sees: the source's picture, and maps of its pose and of the target's.

  Translators (unet, cycle) see the target's joints map and no source; two_stage sees the source's picture and
  the target's heat maps.

  Args:
    recipe: the settings.
    source: [n, S, S, 3] in [-1, 1].
    first: the source's pose.
    second: the target's.
    depth: as in `maps_of`.
  """
  kind = recipe.generator.kind
  if kind in ("unet", "cycle"):
    return (maps_of(recipe, "joints", second, depth),)
  if kind == "two_stage":
    return source, maps_of(recipe, "pose", second, depth)
  guides = (
    jnp.concatenate([maps_of(recipe, name, pose, depth) for pose in (first, second)], axis=-1)
    for name in recipe.generator.modalities
  )
  return source, *guides


def is_hand(recipe: Recipe, pose: Pose) -> jax.Array:
  """Tells where the capsules of the hand are: 0 or 1, [n, S, S, 1]."""
  return (analytic_depth(recipe, pose) < 1.0).astype(jnp.float32)
