"""Where hands come from: rendered ones, the folders of RHD and STB, and an npz file of one's own.

All give columns, one hand a row: `image` uint8 [n, S, S, 3], `uv` float32 [n, 21, 2] in its pixels, `xyz`
float32 [n, 21, 3] in mm before the camera, `identity` int32 [n], and `depth` float32 [n, S, S] in mm.
Rendered ones also have what `render.replace_background` takes, `alpha` and `behind`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vita_jax.base.hashing import arrays_sha256
from vita_jax.data.cache import cache_folder, cached_arrays
from vita_jax.data.files import read_npz
from vita_jax.data.hands import (
  HandCrop,
  check_depths,
  check_one_side,
  check_order,
  check_poses,
  check_projection,
  split_sequences,
)
from vita_jax.data.hands_files import Rhd, Stb
from vita_jax.data.photographs import load_photographs
from vita_jax.hands.dataset import RenderedHands, rendered_hands
from vita_jax.hands.rig import load_rig
from vita_jax.pose.skeletons import HAND

Columns = dict[str, np.ndarray]
NAMES = ("image", "uv", "xyz", "identity", "depth")
RENDERED = (*NAMES, "alpha", "behind")
SIDE = 128  # of the photographs behind rendered hands, their shorter side
VERSION = 3  # of what is rendered: kept renderings of another one are not taken


class Sets(NamedTuple):
  """Hands that train, and hands that are tested, by the name of the test; `source` says where from."""

  train: Columns
  tests: dict[str, Columns]
  source: str


def read_rendered(*, rig: str = "left", photographs: str = "", **options: Any) -> Sets:
  """Renders hands once; they are kept in $VITA_CACHE_DIR/hands, one file for each setting.

  "test" are new poses before new photographs, "identities" new identities as well.

  Args:
    rig: of `load_rig`.
    photographs: folder of the backgrounds; "": those of `data.load_photographs`.
    options: of `hands.dataset.rendered_hands`: size, train, test, strangers, ...

  Raises:
    FileNotFoundError, ValueError: no photographs, or too few of them.
  """
  found = load_photographs(photographs or None, side=SIDE)
  behind = arrays_sha256(dict(zip(found.names, found.pictures, strict=True)))
  key = f"hands {VERSION} {rig} {sorted(options.items())} {behind}"
  make = partial(_rendered, rig, photographs=found, **options)
  arrays = cached_arrays(cache_folder("hands"), key, make, prefix=f"hands-{options.get('size', '')}-")
  train, test, strangers = (
    {name: arrays[f"{part}/{name}"] for name in RENDERED} for part in RenderedHands._fields
  )
  return Sets(train, {"test": test, "identities": strangers}, "rendered hands")


def _rendered(rig: str, **options: Any) -> Columns:
  found = rendered_hands(rig=load_rig(rig), **options)
  parts = found._asdict().items()
  return {f"{part}/{name}": getattr(rows, name) for part, rows in parts for name in RENDERED}


def read_rhd(folder: str, size: int, *, crop: bool) -> Sets:
  """Reads a folder in RHD's layout: training/ trains, evaluation/ is tested.

  Args:
    folder: of the set, or of launch/prepare_data.py --dataset=mm_hand/rendered.
    size: side of the pictures.
    crop: whether hands are cut out of larger pictures; else the pictures are crops already.
  """
  transform = HandCrop(size) if crop else HandCrop(size, margin=None)
  train, test = (_rhd_part(folder, part, transform) for part in ("training", "evaluation"))
  strangers = Path(folder).expanduser() / "strangers"
  if crop or not strangers.is_dir():
    return Sets(train, {"test": test}, str(folder))
  return Sets(train, {"test": test, "identities": _rhd_part(strangers, "evaluation", transform)}, str(folder))


def _rhd_part(folder: str | Path, part: str, transform: HandCrop) -> Columns:
  rows = Rhd(folder, part).shown()
  found = _columns((rows[i] for i in range(len(rows))), transform)
  labels = rows.arrays.get("identity")
  if labels is not None:
    found["identity"] = np.array([labels[frame] for frame, _ in rows.hands], np.int32)
  return found


def read_stb(folder: str, size: int, test_videos: Sequence[str]) -> Sets:
  """Reads STB's folder; the named videos are tested."""
  rows = Stb(folder)
  split = split_sequences(rows.videos(), test_videos, name=str(folder))
  train, test = (_columns((rows[int(i)] for i in part), HandCrop(size)) for part in split)
  return Sets(train, {"test": test}, str(folder))


def _columns(rows: Iterable[Mapping[str, Any]], transform: HandCrop) -> Columns:
  made = [transform(row) for row in rows]
  found = {name: np.stack([row[name] for row in made]) for name in ("image", "uv", "xyz", "depth")}
  return found | {"identity": np.zeros(len(made), np.int32)}


def read_custom(path: str, size: int) -> Sets:
  """Reads hands of one's own from an npz file.

  `image`, `uv`, `xyz` as in this module, all hands left or all right; `test` bool [n], which ones are tested;
  `identity` int [n] (none: all are one person's), `right` bool [n] and `depth` may be there, too.

  Raises:
    FileNotFoundError, ValueError: no such file, arrays that are not these, poses that cannot be.
  """
  arrays = read_npz(path)
  wanted = {"image": (size, size, 3), "uv": (HAND.n_keypoints, 2), "xyz": (HAND.n_keypoints, 3), "test": ()}
  more = {"identity": (), "right": (), "depth": (size, size)}
  if gone := [name for name in wanted if name not in arrays]:
    raise ValueError(f"{path} has no '{gone[0]}': hands of one's own are {', '.join(wanted)}")
  for name, shape in (wanted | {name: shape for name, shape in more.items() if name in arrays}).items():
    if arrays[name].shape[1:] != shape or len(arrays[name]) != len(arrays["image"]):
      expected = ", ".join([str(len(arrays["image"])), *map(str, shape)])
      raise ValueError(f"{path}: '{name}' is {list(arrays[name].shape)}, not [{expected}]")
  if arrays["image"].dtype != np.uint8:
    raise ValueError(f"{path}: 'image' is {arrays['image'].dtype}: it must be uint8, RGB from 0 to 255")
  check_poses(arrays["uv"], arrays["xyz"][..., 2], size=size, name=path)
  if "right" in arrays:
    check_one_side(arrays["right"], name=path)
  check_order(arrays["xyz"][:16], name=path)
  check_projection(arrays["uv"], arrays["xyz"], name=path)
  if "depth" in arrays:
    check_depths(arrays["depth"], arrays["uv"], arrays["xyz"][..., 2], name=path)
  arrays["identity"] = arrays.get("identity", np.zeros(len(arrays["image"]))).astype(np.int32)
  test = arrays.pop("test").astype(bool)
  if not test.any() or test.all():
    raise ValueError(f"{path}: 'test' is the same for all hands, so that none are left to train or to test")
  train, held = ({k: arrays[k][rows] for k in NAMES if k in arrays} for rows in (~test, test))
  return Sets(train, {"test": held}, Path(path).name)
