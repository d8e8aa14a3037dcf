"""The inputs: synthetic pictures to train on and choose by, real ones to look at and test, an old task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vita_jax.data import emoji, fonts, scenes, sim2real
from vita_jax.data.folders import ImageFolder
from vita_jax.data.images import CIFAR10_CLASSES, load_images
from vita_jax.data.labelled import check_classes, check_labels, loaded, old_groups, split_rows
from vita_jax.data.resident import Resident
from vita_jax.data.stream import Stream
from vita_jax.papers.asg.recipe import Data, Recipe

Arrays = dict[str, np.ndarray]
EVALUATED = 100  # pictures in a batch of an evaluation
SYNTHETIC, PRETRAIN = 0, 9  # seeds of what is generated
UNKNOWN = -1  # an old label that there is not
OLD_DIGITS = 4  # the old task on digits: odd or even, below 5 or not


class Inputs(NamedTuple):
  """What a run reads. Arrays are `image` uint8 [n, h, w, c], `label` int [n] or [n, h, w].

  Attributes:
    train: synthetic pictures; the only ones that fine-tuning sees.
    held_out: synthetic pictures of styles or draws that do not train.
    quick: real pictures for a look while training, and without their labels for self-training.
    real: the real test pictures; `old_label` int32 [n] beside `label`, -1: of no class of the old task.
    pretrain: real pictures with labels of the old task, for a teacher that is trained here; None: no need.
    classes: the names of the classes.
    old_groups: int32 [old classes]: the label of the old task of each output of the old head; -1: of none.
    source: where they come from.
  """

  train: Resident | Stream
  held_out: Arrays
  quick: Arrays
  real: Resident | Stream
  pretrain: Arrays | None
  classes: tuple[str, ...]
  old_groups: np.ndarray | None
  source: str


def read_inputs(recipe: Recipe) -> Inputs:
  """Reads or makes the pictures of a run.

  Raises:
    FileNotFoundError: no such folder or data set.
    ValueError: unusable pictures, or a class on one side alone.
  """
  makers: Mapping[str, Any] = {
    "emoji": _emoji,
    "fonts": _fonts,
    "folder": _folder,
    "segmentation": _segmentation,
    "visda": _visda,
    "gta5": _gta5,
  }
  inputs = makers[recipe.data.name](recipe.data, recipe.tune.batch)
  inputs = inputs._replace(train=inputs.train._replace(remainder="drop"))  # a step takes whole batches
  if recipe.pixels and recipe.data.ignore < len(inputs.classes):
    raise ValueError(
      f"config.data.ignore is {recipe.data.ignore}: it is one of the {len(inputs.classes)} classes; give a"
      " label that is none, e.g. 255"
    )
  if recipe.pixels and isinstance(inputs.train, Resident):
    check_labels(inputs.train.arrays["label"], len(inputs.classes), recipe.data.ignore)
  if isinstance(inputs.train, Resident) and recipe.tune.batch > len(inputs.train.arrays["label"]):
    raise ValueError(
      f"config.finetune.batch is {recipe.tune.batch}, and {len(inputs.train.arrays['label'])} synthetic"
      " pictures train: lower the batch"
    )
  return inputs


def evaluated(arrays: Arrays) -> Resident:
  """Returns pictures in row order, in batches for an evaluation."""
  return Resident(arrays, min(EVALUATED, len(arrays["label"])), order="rows")


def _emoji(data: Data, batch: int) -> Inputs:
  drawings = emoji.load_emoji(data.drawings)
  held = drawings.of_styles(data.styles)
  others = sorted(set(drawings.style) - set(data.styles))
  if not others or not data.styles:
    raise ValueError(f"config.data.styles is {data.styles}: hold some styles out, and leave some to train")
  training = drawings.of_styles(others)
  check_classes(training.label, held.label, CIFAR10_CLASSES, ("the training styles", "config.data.styles"))
  photographs = load_images("cifar10")
  train = emoji.render(training, data.count, size=data.size, seed=SYNTHETIC)
  held_out = emoji.render(held, data.held_out, size=data.size, seed=SYNTHETIC + 1)
  # CIFAR-10's training part is the test here, being the larger one: nothing of it is ever trained on.
  real, quick = _with_old(photographs.train), _part(photographs.test, data.quick)
  source = f"{drawings.source}; photographs of CIFAR-10"
  groups = emoji.imagenet_groups()
  return Inputs(
    Resident(train, batch), held_out, quick, evaluated(real), None, CIFAR10_CLASSES, groups, source
  )


def _fonts(data: Data, batch: int) -> Inputs:
  kept = [name for name in fonts.FONTS if name not in fonts.HELD_OUT]
  train = fonts.render_digits(data.count, size=data.size, fonts=kept, seed=SYNTHETIC)
  held_out = fonts.render_digits(data.held_out, size=data.size, fonts=fonts.HELD_OUT, seed=SYNTHETIC + 1)
  real = load_images(data.real)
  first = len(real.train["label"]) // 2
  if data.quick >= first:
    raise ValueError(f"config.data.quick is {data.quick}: {data.real} has {first} digits to look at")
  quick = _part({name: x[first:] for name, x in real.train.items()}, data.quick)
  pretrain = {"image": real.train["image"][:first], "label": old_digits(real.train["label"][:first])}
  test = {**real.test, "old_label": old_digits(real.test["label"])}
  names, groups = tuple("0123456789"), np.arange(OLD_DIGITS, dtype=np.int32)
  source = f"digits in fonts of matplotlib; {data.real}"
  return Inputs(Resident(train, batch), held_out, quick, evaluated(test), pretrain, names, groups, source)


def old_digits(labels: np.ndarray) -> np.ndarray:
  """Returns the label of the old task of digits, int32: 1 if odd, plus 2 if at least 5."""
  return (labels % 2 + 2 * (labels >= 5)).astype(np.int32)


def _folder(data: Data, batch: int) -> Inputs:
  folders = [ImageFolder(path) for path in (data.synthetic, data.real)]
  for folder in folders:
    if folder.labels is None:
      raise ValueError(f"{folder.root} has no folders of classes: put each class's pictures in one folder")
  names = tuple(sorted({name for folder in folders for name in folder.classes}))
  for folder, other in (folders, folders[::-1]):
    if alone := sorted(set(folder.classes) - set(other.classes)):
      raise ValueError(
        f"class '{alone[0]}' is in {folder.root} and not in {other.root}: both need every class"
      )
  synthetic, real = (loaded(folder, size=data.size, fit=data.fit) for folder in folders)
  rest, held_out = split_rows(synthetic, data.held_out, "config.data.held_out", data.synthetic)
  test, quick = split_rows(real, data.quick, "config.data.quick", data.real)
  groups = old_groups(data.old_classes, names) if data.old_classes else None
  source = f"{data.synthetic}; {data.real}"
  return Inputs(
    Resident(rest, batch), held_out, quick, evaluated(_with_old(test)), None, names, groups, source
  )


def _segmentation(data: Data, batch: int) -> Inputs:
  options: Any = {"size": data.size}
  train = _scenes(data.count, look="synthetic", seed=SYNTHETIC, **options)
  held_out = _scenes(data.held_out, look="synthetic", seed=SYNTHETIC + 1, **options)
  quick = _scenes(data.quick, look="real", seed=SYNTHETIC + 2, **options)
  test = scenes.scenes(data.held_out, look="real", seed=SYNTHETIC + 3, **options)
  real = {"image": test["image"], "label": test["label"], "old_label": test["main"]}
  drawn = scenes.scenes(data.count, look="real", seed=PRETRAIN, **options)
  pretrain = {"image": drawn["image"], "label": drawn["main"]}
  groups = np.arange(3, dtype=np.int32)
  if data.ignore != scenes.IGNORE:
    raise ValueError(
      f"config.data.ignore is {data.ignore}: generated scenes have {scenes.IGNORE} on outlines"
    )
  parts = Resident(train, batch), held_out, quick, evaluated(real), pretrain
  return Inputs(*parts, scenes.CLASSES, groups, "generated scenes")


def _scenes(count: int, **options: Any) -> Arrays:
  found = scenes.scenes(count, **options)
  return {"image": found["image"], "label": found["label"]}


def _visda(data: Data, batch: int) -> Inputs:
  rest, held = sim2real.visda(data.synthetic).split(data.held_out)
  test, quick = sim2real.visda(data.real, "validation").split(data.quick)
  whole: Any = sim2real.WholePicture(data.size)
  train = Stream(rest, batch, remainder="drop", transform=whole)
  real = Stream(test, min(EVALUATED, len(test)), order="rows", transform=whole)
  parts = train, _read(held, whole), _read(quick, whole), real
  return Inputs(*parts, None, sim2real.VISDA_CLASSES, None, f"{data.synthetic}; {data.real}")


def _gta5(data: Data, batch: int) -> Inputs:
  rest, held = sim2real.gta5(data.synthetic).split(data.held_out)
  test, quick = sim2real.cityscapes(data.real).split(data.quick)
  crops: Any = sim2real.SceneCrop(data.size)
  middle = crops._replace(chance=False)
  train = Stream(rest, batch, remainder="drop", transform=crops)
  real = Stream(test, 1, order="rows")  # whole frames
  parts = train, _read(held, middle), _read(quick, middle), real
  return Inputs(*parts, None, sim2real.CITYSCAPES_CLASSES, None, f"{data.synthetic}; {data.real}")


def _read(rows: sim2real.Rows, transform: Any) -> Arrays:
  found = [transform(rows[i]) for i in range(len(rows))]
  return {name: np.stack([row[name] for row in found]) for name in ("image", "label")}


def _part(arrays: Arrays, count: int) -> Arrays:
  return {name: x[:count] for name, x in arrays.items()}


def _with_old(arrays: Arrays) -> Arrays:
  """Adds the label of the old task, where it is the class itself."""
  return {**arrays, "old_label": arrays["label"].astype(np.int32)}
