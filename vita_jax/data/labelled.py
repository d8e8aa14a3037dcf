"""Labelled pictures in memory, of two sides that share their classes: reading, checking, splitting.

Arrays are `image` uint8 [n, h, w, c] and `label` int [n], or [n, h, w] where every pixel has one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vita_jax.base.files import read_json
from vita_jax.data import augment
from vita_jax.data.files_image import read_image
from vita_jax.data.folders import ImageFolder

Arrays = dict[str, np.ndarray]


def check_labels(labels: Any, classes: int, ignore: int) -> None:
  """Refuses labels of pixels that are neither a class nor the ignored one.

  Raises:
    ValueError: there is one.
  """
  found = np.unique(np.asarray(labels))
  if odd := [int(x) for x in found if x != ignore and not 0 <= x < classes]:
    raise ValueError(
      f"a label map has {odd[0]}: there are {classes} classes, from 0 on, and {ignore} is"
      " ignored; correct the map"
    )


def check_classes(synthetic: Any, real: Any, names: tuple[str, ...], sides: tuple[str, str]) -> None:
  """Refuses classes that only one side has.

  Args:
    synthetic: labels of one side.
    real: of the other.
    names: of the classes.
    sides: what the two are called.

  Raises:
    ValueError: a class is on one side alone.
  """
  one, other = set(np.unique(synthetic).tolist()), set(np.unique(real).tolist())
  for label in sorted(one ^ other):
    has, lacks = sides if label in one else sides[::-1]
    raise ValueError(f"class '{names[label]}' is in {has} and not in {lacks}: both need every class")


def old_groups(path: str, names: tuple[str, ...]) -> np.ndarray:
  """Reads the label of each class of ImageNet-1k from JSON: class -> a list of its classes there."""
  found, members = np.full(1000, -1, np.int32), read_json(path, what="classes of the old task")
  for name in members.keys() - {"about"}:
    if name not in names:
      raise ValueError(f"{path} has the class '{name}', which no folder has: they are {', '.join(names)}")
    numbers = members[name]
    if not isinstance(numbers, list) or not all(isinstance(k, int) and 0 <= k < 1000 for k in numbers):
      raise ValueError(f"{path}: '{name}' must be a list of whole numbers from 0 to 999")
    found[numbers] = names.index(name)
  return found


def loaded(folder: ImageFolder, *, size: int, fit: str) -> Arrays:
  """Reads a folder's pictures at one size."""
  images, first = [], None
  for i in range(len(folder)):
    image = folder[i]["image"]
    first = image.shape if first is None else first
    if fit == "none" and image.shape != first:
      raise ValueError(
        f"{folder.root / folder.paths[i]} is {image.shape[0]} x {image.shape[1]} and the first picture"
        f" {first[0]} x {first[1]}: make them of one size, or take fit=square"
      )
    images.append(augment.square(image, size=size))
  assert folder.labels is not None
  return {"image": np.stack(images), "label": folder.labels}


def read_pictures(path: str, *, size: int, mode: str) -> Arrays:
  """Reads a picture, or those of a folder in the order of their names: `image` uint8 [n, h, w, c].

  Args:
    path: the file or folder.
    size: side to which the square in the middle is resized; 0: pictures stay as they are.
    mode: "RGB" or "L".

  Raises:
    FileNotFoundError, ValueError: nothing there, no pictures, or with size 0 pictures of unequal sizes.
  """
  if Path(path).expanduser().is_dir():
    folder = ImageFolder(path, mode=mode)
    names, found = folder.paths, [folder[i]["image"] for i in range(len(folder))]
  else:
    names, found = (path,), [read_image(path, mode=mode)]
  found = [augment.square(image, size=size) if size else image for image in found]
  for name, image in zip(names, found, strict=True):
    if image.shape != found[0].shape:
      raise ValueError(
        f"{name} is {image.shape[0]} x {image.shape[1]} and {names[0]} {found[0].shape[0]} x"
        f" {found[0].shape[1]}: predict pictures of one size together"
      )
  return {"image": np.stack(found)}


def split_rows(arrays: Arrays, count: int, key: str, where: str) -> tuple[Arrays, Arrays]:
  """Draws `count` rows: (the rest, those). The rest, which trains or is the test, has every class.

  Raises:
    ValueError: it has not, and a mean over classes would leave one out; or there is no rest.
  """
  total = len(arrays["label"])
  if count >= total:
    raise ValueError(f"{key} is {count}: {where} has {total} pictures; give fewer")
  order = np.random.default_rng(0).permutation(total)
  drawn, rest = np.sort(order[:count]), np.sort(order[count:])
  if lost := set(arrays["label"].tolist()) - set(arrays["label"][rest].tolist()):
    raise ValueError(
      f"{key} is {count}: that leaves no picture of class {min(lost)} of {where} (in the order of the names,"
      " from 0 on); give fewer, or the class more pictures"
    )
  return {k: x[rest] for k, x in arrays.items()}, {k: x[drawn] for k, x in arrays.items()}
