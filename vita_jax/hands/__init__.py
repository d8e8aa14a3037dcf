"""Hands: rigs that move, exact renderings, guidance maps of a pose, and how far two poses are apart.

    rig = hands.load_rig("left")
    found = hands.render_hands(0, rig, number=100, size=64)      # pictures with exact joints, depth and masks
    maps = hands.heat_maps(found.uv, size=64)                    # [100, 64, 64, 21]

See README.md of this folder. The 21 joints are those of `vita_jax.pose.skeletons.HAND`.
"""

from vita_jax._lazy import submodules
from vita_jax.hands.distance import nearest, pose_distance
from vita_jax.hands.modalities import FAR, capsule_depth, heat_maps, joints_map
from vita_jax.hands.render import Renderings, render_hands, replace_background
from vita_jax.hands.rig import Rig, articulate, load_rig, random_angles, read_rig

__all__ = [
  "FAR",
  "Renderings",
  "Rig",
  "articulate",
  "capsule_depth",
  "heat_maps",
  "joints_map",
  "load_rig",
  "nearest",
  "pose_distance",
  "random_angles",
  "read_rig",
  "render_hands",
  "replace_background",
]

__getattr__, __dir__ = submodules(__name__)
