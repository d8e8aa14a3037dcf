"""What a run reads: pictures with exact partners or with those of another domain, and held-out crops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from vita_jax.data import augment
from vita_jax.data.folders import Partner, twins
from vita_jax.data.histograms import histogram_curves
from vita_jax.data.images import cifar10_class
from vita_jax.data.pairs import cartoons, folder_pairs, grid_crops, pair_rows
from vita_jax.data.photographs import Photographs, load_photographs, split_names, split_photographs
from vita_jax.data.resident import Resident
from vita_jax.data.stream import Stream
from vita_jax.papers.gan_slimming.recipe import Data, Recipe

Rows = Sequence[Mapping[str, Any]]


class Inputs(NamedTuple):
  """Everything that training and testing see.

  Attributes:
    rows: training pictures {"image"}, with pairs {"image", "target"}; uint8 [h, w, 3].
    others: pictures of the target domain that are no partners, {"image"}; None: pairs, or no target at all.
    crop: side of a training crop.
    test: held-out crops `image` uint8 [n, crop, crop, 3], and with pairs `target`.
    photo: int32 [n], from which held-out picture each of them is.
    targets: held-out crops of the target domain, uint8 [m, crop, crop, 3]; None: there are none.
    curves: of colour-histogram matching, float64 [256, 3], learned on training pictures; None likewise.
    source: where the pictures are from.
  """

  rows: Rows
  others: Rows | None
  crop: int
  test: dict[str, np.ndarray]
  photo: np.ndarray
  targets: np.ndarray | None
  curves: np.ndarray | None
  source: str

  @property
  def paired(self) -> bool:
    """Whether every picture has its exact partner."""
    return "target" in self.test


def read_inputs(recipe: Recipe) -> Inputs:
  """Reads the pictures of a style and splits them by picture.

  Raises:
    FileNotFoundError, ImportError, ValueError: missing or unusable pictures; too few of them.
  """
  data = recipe.data
  if data.style in ("cartoon", "pairs"):
    train, test, source = _cartoon_pairs(data) if data.style == "cartoon" else _folder_pairs(data)
    crops = grid_crops(test, size=data.crop, most=data.crops)
    curves = histogram_curves([row["image"] for row in train], [row["target"] for row in train])
    photo = crops.pop("picture")
    return Inputs(train, None, data.crop, crops, photo, crops["target"], curves, source)
  domains = _cifar10() if data.style == "horse2deer" else _folders(data)
  (train, test), others = domains[0], domains[1] if len(domains) > 1 else None
  crops = grid_crops(test, size=data.crop, most=data.crops)
  photo = crops.pop("picture")
  source = "CIFAR-10" if data.style == "horse2deer" else f"{data.source} {data.target}".strip()
  if others is None:
    return Inputs(train, None, data.crop, crops, photo, None, None, source)
  targets = grid_crops(others[1], size=data.crop, most=data.crops)["image"]
  curves = histogram_curves([row["image"] for row in train], [row["image"] for row in others[0]])
  return Inputs(train, others[0], data.crop, crops, photo, targets, curves, source)


def batches(inputs: Inputs, size: int) -> Stream:
  """Returns the training batches: random crops, flipped with probability 1/2, partners with the same ones.

  `image` and, where there is a target domain, `target`: uint8 [size, crop, crop, 3].

  Raises:
    ValueError: fewer pictures than a batch has.
  """
  if size > len(inputs.rows):
    raise ValueError(
      f"a batch has {size} pictures and {len(inputs.rows)} train: lower the batch or config.data.held_out"
    )
  steps = (partial(augment.random_crop, size=inputs.crop), augment.flip)
  transform: Any = augment.Together(steps, keys=("image", "target") if inputs.paired else ("image",))
  if inputs.others is not None:
    transform = Partner(
      inputs.others, "target", then=tuple(augment.Augment(steps, key) for key in ("image", "target"))
    )
  return Stream(inputs.rows, size, remainder="drop", transform=transform)


def held_out(inputs: Inputs) -> Resident:
  """Returns the held-out crops in order, in batches of at most 42."""
  return Resident(inputs.test, min(42, len(inputs.test["image"])), order="rows")


def middles(inputs: Inputs, count: int = 32) -> np.ndarray:
  """Returns training crops uint8 [n, crop, crop, 3], the middles of the first pictures."""
  rows = [inputs.rows[i] for i in range(min(count, len(inputs.rows)))]
  return np.stack([augment.center_crop(row["image"], size=inputs.crop) for row in rows])


def in_parts(function: Callable[[Any], Any], crops: np.ndarray, *, size: int = 42) -> np.ndarray:
  """Calls a function of pictures in [-1, 1] on uint8 crops, so many at once: float32 [n, h, w, 3]."""
  full = np.concatenate([crops, np.repeat(crops[:1], -len(crops) % min(size, len(crops)), axis=0)])
  parts = np.split(full, len(full) // min(size, len(crops)))
  return np.concatenate([np.asarray(function(to_floats(x)), np.float32) for x in parts])[: len(crops)]


def to_floats(pictures: Any) -> Any:
  """Converts uint8 to float32 in [-1, 1]."""
  return pictures.astype(np.float32) / 127.5 - 1.0


def to_bytes(pictures: np.ndarray) -> np.ndarray:
  """Converts [-1, 1] to uint8, rounded."""
  return np.round((np.clip(np.asarray(pictures, np.float32), -1, 1) + 1) * 127.5).astype(np.uint8)


def _cartoon_pairs(data: Data) -> tuple[Rows, Rows, str]:
  everything = load_photographs(data.source or None, side=data.side)
  _check_count(len(everything.names), data, everything.source)
  drawn = cartoons(everything.pictures, sigma_s=data.sigma_s, sigma_r=data.sigma_r)
  partner = dict(zip(everything.names, drawn, strict=True))

  def rows(part: Photographs) -> Rows:
    return pair_rows(part.pictures, [partner[name] for name in part.names])

  train, test = split_photographs(everything, held_out=data.held_out)
  return rows(train), rows(test), f"{everything.source}, cv2.stylization({data.sigma_s:g}, {data.sigma_r:g})"


def _folder_pairs(data: Data) -> tuple[Rows, Rows, str]:
  rows = folder_pairs(data.source, data.target, side=data.side)
  _check_count(len(rows), data, data.source)
  names, pictures = [f"{i:06d}" for i in range(len(rows))], [row["image"] for row in rows]
  same = [(names[i], names[j]) for i, j in twins(pictures, pictures) if i < j]
  train, test = split_names(names, held_out=data.held_out, together=same)
  return [rows[int(i)] for i in train], [rows[int(i)] for i in test], f"{data.source} {data.target}"


def _folders(data: Data) -> list[tuple[Rows, Rows]]:
  found: list[tuple[Rows, Rows]] = []
  for folder in filter(None, (data.source, data.target)):
    pictures = load_photographs(folder, side=data.side)
    _check_count(len(pictures.names), data, folder)
    parts = split_photographs(pictures, held_out=data.held_out)
    train, test = ([{"image": x} for x in part.pictures] for part in parts)
    found.append((train, test))
  return found


def _cifar10() -> list[tuple[Rows, Rows]]:
  found: list[tuple[Rows, Rows]] = []
  for name in ("horse", "deer"):
    images = cifar10_class(name)
    train, test = ([{"image": x} for x in split["image"]] for split in (images.train, images.test))
    found.append((train, test))
  return found


def _check_count(count: int, data: Data, where: str) -> None:
  if count <= data.held_out:
    raise ValueError(
      f"{where} has {count} picture{'s' * (count > 1)}: with config.data.held_out={data.held_out} none is"
      " left to train"
    )
