"""Rigged hands: a mesh that follows 20 angles and five lengths.

Every rig has the same angles, so that one set of poses moves all of them. In a joint's own frame the bone
runs along -z, the palm is towards -y and x lies across: flexion turns about x, abduction about y.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.choose import choose
from vita_jax.data.files import read_npz
from vita_jax.data.sources import missing, source_files
from vita_jax.pose.skeletons import HAND
from vita_jax.render.mesh import Mesh, check_mesh
from vita_jax.render.skinning import forward_kinematics, local_transforms, rotation_of, skin

NAMES = ("left", "right", "makehuman_left", "makehuman_right")
FINGERS = ("thumb", "index", "middle", "ring", "little")
ANGLES = ("flexion_1", "flexion_2", "flexion_3", "abduction")  # of each finger, from the palm outwards
DIP = 0.66  # flexion of the last joint of a finger, as a share of that of the middle one
# Degrees: the least and the most of (finger, angle). The last joint of a finger follows its middle one.
LIMITS = np.array(
  [
    [(0, 35), (0, 40), (0, 50), (0, 0)],
    *[[(0, 80), (0, 90), (0, 0), (-10, 10)]] * 4,
  ],
  np.float64,
)


class Rig(NamedTuple):
  """A hand that can be moved; lengths are in metres.

  Attributes:
    name: e.g. "left".
    mesh: with uv, joints (inverse bind matrices) and weights.
    rest: float32 [J, 4, 4], each joint's transform relative to its parent's in the pose of the mesh.
    parents: int32 [J], -1 for the wrist.
    std21: int32 [21], the joints of `HAND`.
    right: whether it is a right hand.
  """

  name: str
  mesh: Mesh
  rest: np.ndarray
  parents: np.ndarray
  std21: np.ndarray
  right: bool


def load_rig(name: str = "left") -> Rig:
  """Loads a hand: one of `NAMES`.

  "left" and "right" are the generic hands of WebXR's input profiles (MIT, Amazon), which do not ship;
  "makehuman_left" and "makehuman_right" are those of MakeHuman's base mesh (CC0), with a forearm.

  Raises:
    ValueError: an unknown name, or a file that is not the recorded one.
    FileNotFoundError: the file is not under $VITA_DATA_DIR.
  """
  source = f"hand/{choose('hand', name, NAMES)}"
  if not (files := source_files(source)):
    raise FileNotFoundError(f"no rigged hand '{name}': there is {missing(source)}; put it there")
  return read_rig(*files.values(), name=name)


def read_rig(path: str | os.PathLike, *, name: str | None = None) -> Rig:
  """Reads a rig from an npz file.

  Its arrays: vertices [V, 3] in metres, faces [F, 3], uv [V, 2] (row 0 of the texture at 0, as glTF has it),
  skin_joints and skin_weights [V, k], inverse_bind and joint_world_rest [J, 4, 4], joint_parents [J], std21
  [21]. In each joint's frame the bone runs along -z and the palm is towards -y, see `check_rig`.

  Args:
    path: the file.
    name: of the rig; None: that of the file.

  Raises:
    FileNotFoundError: no such file.
    ValueError: an array is missing or does not fit; frames that do not follow the convention.
  """
  arrays = read_npz(path)
  needed = (
    "vertices faces uv skin_joints skin_weights inverse_bind joint_world_rest joint_parents std21".split()
  )
  if gone := [key for key in needed if key not in arrays]:
    raise ValueError(f"{path} is no rigged hand: it has no array '{gone[0]}'; see vita_jax/hands/README.md")
  return _rig(arrays, name or Path(path).stem)


def _rig(arrays: Mapping[str, np.ndarray], name: str) -> Rig:
  weights = np.zeros((len(arrays["vertices"]), len(arrays["inverse_bind"])), np.float32)
  np.add.at(weights, (np.arange(len(weights))[:, None], arrays["skin_joints"]), arrays["skin_weights"])
  uv = np.array(arrays["uv"], np.float32) * [1, -1] + [0, 1]  # glTF counts rows from above
  parents, std21 = (np.asarray(arrays[key], np.int32) for key in ("joint_parents", "std21"))
  faces = np.asarray(arrays["faces"], np.int32)
  # Vertices that differ in uv alone are one: else their normals would show the seam.
  _, one, place = np.unique(
    np.concatenate([arrays["vertices"], weights], axis=1), axis=0, return_index=True, return_inverse=True
  )
  mesh = Mesh(
    arrays["vertices"][one],
    place.reshape(-1)[faces],
    uv=uv,
    face_uv=faces,
    joints=arrays["inverse_bind"],
    parents=parents,
    weights=weights[one],
  )
  world = np.asarray(arrays["joint_world_rest"], np.float64)
  mesh = check_mesh(mesh, name=name)
  return check_rig(Rig(name, mesh, local_transforms(world, parents), parents, std21, is_right(world, std21)))


def is_right(world: np.ndarray, std21: np.ndarray) -> bool:
  """Tells whether joints [J, 4, 4] are those of a right hand: the thumb, seen with the palm away, is left."""
  wrist, index, little = (world[std21[i], :3, 3] for i in (0, 5, 17))
  back = world[std21[9], :3, 1]
  return bool(np.dot(np.cross(index - wrist, little - wrist), back) < 0)


def check_rig(rig: Rig) -> Rig:
  """Returns a rig whose frames follow the convention of this module.

  Raises:
    ValueError: a bone that does not run along -z of its joint, more than 30 degrees off; or a joint of `HAND`
      that does not hang on the one before it.
  """
  for finger in range(5):
    for i in range(1, 4):
      joint, child = (int(rig.std21[4 * finger + i + k]) for k in (0, 1))
      label = HAND.names[4 * finger + i + 1]
      if rig.parents[child] != joint:
        raise ValueError(f"rig '{rig.name}': the parent of {label} must be {HAND.names[4 * finger + i]}")
      along = rig.rest[child, :3, 3]
      if not -along[2] > np.cos(np.deg2rad(30)) * np.linalg.norm(along):
        raise ValueError(
          f"rig '{rig.name}': the bone to {label} runs along {np.round(along, 4).tolist()} of its joint: turn"
          " the joint's frame so that it runs along -z"
        )
  return rig


def articulate(rig: Rig, angles: Any, *, lengths: Any = None) -> tuple[jax.Array, jax.Array]:
  """Moves a hand: linear blend skinning of the mesh, and its 21 joints.

  Differentiable in angles and lengths; for many hands `jax.vmap` it.

  Args:
    rig: the hand.
    angles: [5, 4], radians, `FINGERS` by `ANGLES`; zeros leave it as the mesh has it, flexion closes the
      fist, and abduction turns a finger to the same neighbour on both hands.
    lengths: [5], factor of the bones of each finger; None: 1.

  Returns:
    (vertices float32 [V, 3], joints float32 [21, 3]) in metres.

  Raises:
    ValueError: angles that are not [5, 4].
  """
  angles = jnp.asarray(angles, jnp.float32)
  if angles.shape != (len(FINGERS), len(ANGLES)):
    raise ValueError(f"angles are [5, 4], these are {list(angles.shape)}: for many hands take jax.vmap")
  lengths = jnp.ones(5) if lengths is None else jnp.asarray(lengths, jnp.float32)
  chains = rig.std21[1:].reshape(len(FINGERS), 4)  # the joints of each finger, the last is its tip
  zero = jnp.zeros((len(FINGERS), 3))
  flexion = rotation_of(jnp.stack([-angles[:, :3], zero, zero], axis=-1))  # [5, 3, 3, 3]
  outwards = -angles[:, 3] if rig.right else angles[:, 3]
  abduction = rotation_of(jnp.stack([zero[:, 0], outwards, zero[:, 0]], axis=-1))
  turns = flexion.at[:, 0].set(abduction @ flexion[:, 0])
  local = jnp.asarray(rig.rest)
  local = local.at[chains[:, :3], :3, :3].set(local[chains[:, :3], :3, :3] @ turns)
  local = local.at[chains[:, 1:], :3, 3].multiply(lengths[:, None, None])
  world = forward_kinematics(local, rig.parents)
  # A bone is stretched along its own z, which its children do not inherit.
  moves = world.at[chains[:, :3], :3, 2].multiply(lengths[:, None, None])
  return jnp.asarray(skin(rig.mesh, moves).vertices), world[rig.std21, :3, 3]


def random_angles(rng: np.random.Generator, *, limits: np.ndarray = LIMITS) -> np.ndarray:
  """Draws angles, uniform between the limits, the last joint of each finger bent by 0.66 of the middle one.

  Args:
    rng: of all that is drawn.
    limits: [5, 4, 2] in degrees.

  Returns:
    float32 [5, 4] in radians, for `articulate`.

  Examples:
    >>> random_angles(np.random.default_rng(0)).shape
    (5, 4)
  """
  angles = np.deg2rad(rng.uniform(limits[..., 0], limits[..., 1]))
  angles[1:, 2] = DIP * angles[1:, 1]
  return angles.astype(np.float32)
