"""What a user takes away: a program from a source picture and target poses to pictures; a sheet, a film."""

from __future__ import annotations

import functools
import io
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vita_jax.base.files import write_bytes
from vita_jax.data import augment
from vita_jax.data.files import read_npz
from vita_jax.data.hands import check_order, check_poses, check_within
from vita_jax.hands.modalities import joints_before
from vita_jax.nn.detectors.palm import check_hands
from vita_jax.papers.mm_hand.data import Inputs, to_bytes, to_floats
from vita_jax.papers.mm_hand.guidance import Pose
from vita_jax.papers.mm_hand.model import Nets, transfer
from vita_jax.papers.mm_hand.recipe import Recipe
from vita_jax.pose.skeletons import HAND
from vita_jax.report.skeletons import draw_skeletons, sheet
from vita_jax.train.experiment import Exported, State

K = HAND.n_keypoints
MILLISECONDS = 120  # of a picture of the film


def export(recipe: Recipe, nets: Nets, inputs: Inputs, state: State) -> Exported:
  """Exports the generator, in evaluation mode, with the network of depth where there is one."""
  kept = [name for name in ("generator", "depth", "nothing") if name in state["params"]]
  params = {key: {name: state[key].get(name, {}) for name in kept} for key in ("params", "stats")}
  size = recipe.size
  return Exported(
    params=jax.device_get(params),
    program=functools.partial(draw, recipe, _in_form(nets)),
    inputs={
      "picture": (f"n, {size}, {size}, 3", "uint8"),
      "source_uv": (f"n, {K}, 2", "float32"),
      "source_z": (f"n, {K}", "float32"),
      "uv": (f"n, {K}, 2", "float32"),
      "z": (f"n, {K}", "float32"),
    },
    read=functools.partial(read_poses, size, far=recipe.far),
    card={
      "inputs": {
        "picture": f"uint8 [n, {size}, {size}, 3], RGB, a crop around a hand: the appearance",
        "source_uv, source_z": "float32, its joints in pixels (x, y) and their depth in mm",
        "uv, z": "float32, the same of the pose that is drawn",
      },
      "outputs": {"drawn": f"float32 [n, {size}, {size}, 3], in [-1, 1]"},
      "joints": list(HAND.names),
      "trained on": {"method": recipe.method, "hands": inputs.source},
    },
    decode=decode,
    save=functools.partial(save_pictures, size),
    rows_per_call=16,
  )


def _in_form(nets: Nets) -> Nets:
  """The same networks in float32, with the CPU's products beside the convolutions for accelerators."""
  generator, depth = (
    None if net is None else net.clone(form="top", dtype=None) for net in (nets.generator, nets.depth)
  )
  return nets._replace(generator=generator, depth=depth)


def draw(
  recipe: Recipe,
  nets: Nets,
  params: Mapping[str, Any],
  *,
  picture: jax.Array,
  source_uv: jax.Array,
  source_z: jax.Array,
  uv: jax.Array,
  z: jax.Array,
) -> dict[str, jax.Array]:
  """Draws the hand of each picture in each pose: `drawn` float32 [n, S, S, 3] in [-1, 1]."""
  return {"drawn": transfer(recipe, nets, params, to_floats(picture), Pose(source_uv, source_z), Pose(uv, z))}


def read_poses(size: int, path: str, *, far: float = math.inf) -> dict[str, np.ndarray]:
  """Reads a source and target poses from an npz file.

  `picture` uint8 [h, w, 3], a crop around a hand, `source_uv` [21, 2] and `source_z` [21] of its joints, and
  `uv` [n, 21, 2] and `z` [n, 21] of the targets: x and y in pixels of the picture, z in mm. (`picture` and
  its joints may be [n, ...], too, one for each target.) Pictures of another size are resized.

  Raises:
    FileNotFoundError, ValueError: no such file, an array that is missing or of another shape, poses that
      cannot be (see `data.hands.check_poses`), are in another order of joints (STB's mostly, of five
      targets or more) or beyond `far` mm, which the model's depth maps do not show; a picture in which the
      palm detector, or the landmark network where that does, finds no hand. Rows and columns swapped, or
      targets of the other hand, are not told.
  """
  arrays = read_npz(path)
  wanted = {"picture": 4, "source_uv": 3, "source_z": 2, "uv": 3, "z": 2}
  for name in wanted:
    if name not in arrays:
      raise ValueError(f"{path} has no '{name}': it needs {', '.join(wanted)}")
  n = len(arrays["uv"]) if arrays["uv"].ndim == 3 else 1
  if not n:
    raise ValueError(f"{path}: there are no poses in 'uv': give at least one")
  whole = {name: _rows(path, name, arrays[name], axes, n) for name, axes in wanted.items()}
  height, width = whole["picture"].shape[1:3]
  scale = np.array([size / width, size / height])
  pictures = whole["picture"][: 1 if arrays["picture"].ndim == 3 else n]
  resized = [augment.resize(x, size=(size, size)) for x in pictures]
  found = {"picture": np.broadcast_to(np.stack(resized), (n, size, size, 3))}
  for name in ("source_uv", "uv"):
    found[name] = ((whole[name] + 0.5) * scale - 0.5).astype(np.float32)
  found |= {name: whole[name].astype(np.float32) for name in ("source_z", "z")}
  for prefix in ("source_", ""):
    uv, z, name = found[f"{prefix}uv"], found[f"{prefix}z"], f"{prefix}uv of {path}"
    check_poses(uv, z, size=size, name=name)
    check_within(z, far, name=name, remedy="move them nearer, the model has learned no others")
    check_order(joints_before(whole[f"{prefix}uv"], whole[f"{prefix}z"]), name=name, share=0.75)
  try:
    check_hands(list(pictures), [path] * len(pictures))
  except FileNotFoundError as error:
    warnings.warn(f"whether the source shows a hand is not checked: {error}", stacklevel=2)
  return found


def _rows(path: str, name: str, x: np.ndarray, axes: int, n: int) -> np.ndarray:
  """The array with one row for each target."""
  shape = {"picture": (3,), "source_z": (K,), "z": (K,)}.get(name, (K, 2))
  x = x[None] if x.ndim == axes - 1 else x
  if x.ndim != axes or x.shape[-len(shape) :] != shape or len(x) not in (1, n):
    raise ValueError(
      f"{path}: '{name}' is {list(x.shape)}: it must end in {list(shape)}, with {n} rows or one"
    )
  if name == "picture" and x.dtype != np.uint8:
    raise ValueError(f"{path}: 'picture' is {x.dtype}: it must be uint8, RGB")
  return np.broadcast_to(x, (n, *x.shape[1:]))


def decode(path: str, outputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Returns `rgb` uint8 [n, S, S, 3]."""
  del path
  return {"rgb": to_bytes(np.asarray(outputs["drawn"]))}


def save_pictures(size: int, path: str, outputs: Mapping[str, Any], folder: Path) -> str:
  """Writes the drawn pictures, a sheet (source, target pose, drawn), and film.gif of all in their order."""
  from PIL import Image

  read = read_poses(size, path)
  drawn = to_bytes(np.asarray(outputs["drawn"]))
  shown = []
  for i, picture in enumerate(drawn):
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    write_bytes(folder / f"{i:04d}.png", content.getvalue())
    pose = draw_skeletons(np.zeros_like(picture), read["uv"][i], HAND)
    shown.append(np.concatenate([read["picture"][i], pose, picture], axis=1))
  content = io.BytesIO()
  Image.fromarray(sheet(shown, columns=4)).save(content, "PNG")
  write_bytes(folder / "sheet.png", content.getvalue())
  frames, content = [Image.fromarray(picture) for picture in drawn], io.BytesIO()
  frames[0].save(
    content, "GIF", save_all=True, append_images=frames[1:], duration=MILLISECONDS, loop=0, disposal=2
  )
  write_bytes(folder / "film.gif", content.getvalue())
  return f"{len(drawn)} pictures, sheet.png and film.gif"
