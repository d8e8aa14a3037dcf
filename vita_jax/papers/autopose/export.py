"""What a user takes away: a program from crops to keypoints, its genotype, COCO results and drawings."""

from __future__ import annotations

import functools
import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vita_jax.base.files import write_bytes, write_json
from vita_jax.data.files_image import SUFFIXES, read_image
from vita_jax.papers.autopose.data import Inputs, crop_of
from vita_jax.papers.autopose.model import MeanPose, Nets
from vita_jax.papers.autopose.recipe import Recipe
from vita_jax.papers.autopose.report import found_in, network_state, searched
from vita_jax.pose.crops import Crop, centre_and_scale, crop_matrix, to_picture, warp
from vita_jax.pose.evaluate import coco_results
from vita_jax.pose.skeletons import Skeleton
from vita_jax.report.skeletons import draw_skeletons
from vita_jax.search.branches import Derived, to_json
from vita_jax.search.branches.onnx_files import write_onnx
from vita_jax.train.experiment import Exported, State

Tree = Any


def export(recipe: Recipe, nets: Nets, inputs: Inputs, state: State) -> Exported:
  """Exports the trained network, or of a search the best candidate with its shared weights.

  `write` adds genotype.json where there is an architecture of the space.
  """
  trained = nets.single is not None and not isinstance(nets.single, MeanPose)
  moved = nets._replace(single=_in_form(nets.single)) if trained else nets
  height, width = recipe.data.size
  shape, crop, skeleton = f"n, {height}, {width}, 3", crop_of(recipe), inputs.skeleton
  return Exported(
    params=jax.device_get(network_state(recipe, state)),
    program=functools.partial(locate, recipe, moved, inputs),
    inputs={"image": (shape, "uint8")},
    read=functools.partial(read_crops, crop),
    card={
      "inputs": {"image": f"uint8 [{shape}], RGB, crops of one person each"},
      "outputs": {
        "joints": f"float32 [n, {skeleton.n_keypoints}, 2], x and y in pixels of the crop",
        "scores": f"float32 [n, {skeleton.n_keypoints}], maxima of the heat maps",
      },
      "keypoints": list(skeleton.names),
      "macs of a crop": nets.macs,
      "trained on": {"method": recipe.method, "data": inputs.source},
    },
    write=functools.partial(write_files, recipe, nets, state),
    decode=functools.partial(decode, crop),
    save=functools.partial(save_pictures, skeleton),
    rows_per_call=32,
  )


def _in_form(net: Any) -> Any:
  """The same module for a program that has the CPU's products beside the convolutions for accelerators."""
  return net.clone(net=net.net.clone(form="top")) if hasattr(net, "net") else net.clone(form="top")


def locate(
  recipe: Recipe, nets: Nets, inputs: Inputs, params: Tree, *, image: jax.Array
) -> dict[str, jax.Array]:
  """Computes keypoints and scores of crops."""
  found = found_in(recipe, nets, inputs, params, image)
  return {"joints": found.joints, "scores": found.scores}


def pictures_in(path: str) -> list[Path]:
  """Lists the pictures of a folder by name, or the one picture.

  Raises:
    ValueError: a folder without pictures.
  """
  place = Path(path).expanduser()
  if not place.is_dir():
    return [place]
  found = sorted(p for p in place.iterdir() if p.name.lower().endswith(SUFFIXES) and p.is_file())
  if not found:
    raise ValueError(f"{place} has no pictures: they end in {', '.join(SUFFIXES)}")
  return found


def read_crops(crop: Crop, path: str) -> dict[str, np.ndarray]:
  """Reads pictures of one person each, a file or a folder: `image` uint8 [n, *size, 3], fitted in."""
  found = []
  for file in pictures_in(path):
    image = read_image(file)
    centre, scale = _whole(crop, image.shape)
    found.append(
      warp(image, crop_matrix(centre, scale, size=crop.size, convention=crop.convention), size=crop.size)
    )
  return {"image": np.stack(found)}


def _whole(crop: Crop, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
  """Centre and scale of the box that is the whole picture."""
  return centre_and_scale([0, 0, shape[1], shape[0]], aspect=crop.aspect, padding=1.0)


def decode(crop: Crop, path: str, outputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Returns `joints` float32 [n, K, 2] in pixels of the pictures at `path`."""
  found = []
  for file, joints in zip(pictures_in(path), np.asarray(outputs["joints"]), strict=True):
    centre, scale = _whole(crop, read_image(file).shape)
    found.append(to_picture(joints, centre, scale, size=crop.size, convention=crop.convention))
  return {"joints": np.stack(found).astype(np.float32)}


def save_pictures(skeleton: Skeleton, path: str, outputs: Mapping[str, Any], folder: Path) -> str:
  """Writes keypoints.json, COCO's result format, files.json, by image id, and a drawing of each picture."""
  from PIL import Image

  files = pictures_in(path)
  joints, scores = (np.asarray(outputs[name]) for name in ("joints", "scores"))
  ids = np.arange(1, len(files) + 1)
  results = coco_results(ids, joints, scores, scores.mean(axis=1))
  write_bytes(folder / "keypoints.json", json.dumps(results).encode())
  write_json(folder / "files.json", {str(i): file.name for i, file in zip(ids, files, strict=True)})
  stems = [file.stem for file in files]
  for file, own in zip(files, joints, strict=True):
    image, content = read_image(file), io.BytesIO()
    larger = max(1, 256 // max(image.shape[:2]))
    Image.fromarray(draw_skeletons(image, own, skeleton, scale=larger)).save(content, "PNG")
    name = file.stem if stems.count(file.stem) == 1 else file.name  # a.jpg and a.png: a.jpg.png and a.png.png
    write_bytes(folder / f"{name}.png", content.getvalue())
  return f"keypoints.json and {len(files)} pictures"


def write_files(recipe: Recipe, nets: Nets, state: State, folder: Path) -> None:
  """Writes genotype.json, candidates.json of a search, and model.onnx of a single network, where onnx is."""
  if recipe.searches:
    for name, text in searched(recipe, nets, state)[1].items():
      write_bytes(folder / name, text.encode())
  elif nets.genotype is not None and isinstance(nets.single, Derived):
    try:
      write_onnx(folder / "model.onnx", nets.single, state["params"], state["stats"])
    except ImportError as error:
      warnings.warn(f"no model.onnx: {error}", stacklevel=2)
    content = to_json(nets.genotype)
    content["facts"] |= {"macs": nets.macs, "widths": nets.shape._asdict()}
    write_bytes(folder / "genotype.json", (json.dumps(content, indent=1) + "\n").encode())
