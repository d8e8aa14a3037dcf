"""Images in a folder as a source of rows for a Stream, and a second folder for unpaired domains."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vita_jax.base.choose import choose
from vita_jax.data import augment
from vita_jax.data.files_image import MODES, SUFFIXES, read_image


class ImageFolder:
  """The images of a folder as rows: has a length and `folder[i]` -> {"image", "label"}, for a Stream.

  Either a folder of classes, one folder each, whose images may lie at any depth; or a flat one, whose rows
  have no label. Images that are not of one size need a `transform` that makes them so, e.g.
  `augment.random_resized_crop`. The order is that of the names, the same on every machine; files and folders
  whose names begin with a dot, and files with other endings than `SUFFIXES`, are left out.

      photos = ImageFolder("photos")      # photos/cat/1.jpg, photos/dog/2.png, ...
      photos[0]["image"]                  # uint8 [height, width, 3]
      photos.classes[photos[0]["label"]]  # "cat"

  Attributes:
    root: the folder.
    mode: "RGB" or "L" (grey), for all images.
    paths: the files, relative to the folder.
    labels: int32 [n], or None where the folder is flat.
    classes: the names of the classes, sorted; () where the folder is flat.
  """

  def __init__(self, root: str | os.PathLike, *, mode: str = "RGB"):
    """Lists the folder; nothing is decoded.

    Raises:
      FileNotFoundError: no such folder.
      ValueError: an unknown mode; no images; images both beside and inside of folders; a class without any.
    """
    self.root, self.mode = Path(root).expanduser(), choose("mode", mode, MODES)
    self.classes: tuple[str, ...] = ()
    self.labels: np.ndarray | None = None
    self.paths: tuple[str, ...]
    if not self.root.is_dir():
      raise FileNotFoundError(f"no folder {self.root}; check the path")
    flat, classes = _listed(self.root)
    inside = {name: sorted(_images(self.root / name)) for name in classes}
    if flat and any(inside.values()):
      raise ValueError(
        f"{self.root} has images both beside and inside of its folders: put all of them in classes"
      )
    if not flat and not any(inside.values()):
      raise ValueError(f"{self.root} has no images: they end in {', '.join(SUFFIXES)}")
    if flat:
      self.paths = tuple(flat)
      return
    if empty := [name for name, images in inside.items() if not images]:
      raise ValueError(f"{self.root / empty[0]} has no images: fill or remove the folder of this class")
    self.classes = tuple(classes)
    counts = [len(images) for images in inside.values()]
    self.labels = np.repeat(np.arange(len(classes), dtype=np.int32), counts)
    self.paths = tuple(f"{name}/{file}" for name, images in inside.items() for file in images)

  def only(self, paths: Iterable[str]) -> ImageFolder:
    """Returns the folder with these of its files alone, e.g. of one side of `photographs.split_names`.

    Raises:
      ValueError: a file that is not among them, or none.
    """
    wanted = set(paths)
    if not wanted:
      raise ValueError(f"none of the {len(self.paths)} images of {self.root} is named")
    if gone := sorted(wanted - set(self.paths)):
      raise ValueError(f"{self.root} has no image {gone[0]}")
    kept = [i for i, path in enumerate(self.paths) if path in wanted]
    part = copy.copy(self)
    part.paths = tuple(self.paths[i] for i in kept)
    part.labels = None if self.labels is None else self.labels[kept]
    return part

  def __len__(self) -> int:
    return len(self.paths)

  def __getitem__(self, i: int) -> dict[str, np.ndarray]:
    """Row i; ValueError names a file that cannot be decoded."""
    row = {"image": read_image(self.root / self.paths[i], mode=self.mode)}
    return row if self.labels is None else {**row, "label": self.labels[i]}


class Partner(NamedTuple):
  """A transform that adds an image of an unpaired second domain to each row, drawn anew every time.

  Row i of the first domain comes once in an epoch, its partner is a random row of the second:

      data = Stream(ImageFolder("horses"), 1, transform=Partner(ImageFolder("zebras")))

  Attributes:
    other: the second domain: a source whose rows have "image".
    key: where its image goes.
    then: transforms of the completed row, e.g. `augment.Augment`s for "image" and "partner".
  """

  other: Any
  key: str = "partner"
  then: tuple[Any, ...] = ()

  def __call__(self, row: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    image = self.other[int(rng.integers(len(self.other)))]["image"]
    found = {**row, self.key: image}
    for transform in self.then:
      found = transform(found, rng)
    return found


def twins(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> list[tuple[int, int]]:
  """Finds pictures of one set that are pictures of the other, too: pairs (i, j) of places.

  Two are one where thumbnails of 16 x 16 pixels differ by less than 2 % of the range in the mean, whatever
  their sizes and compression. For splits that promise unseen pictures.

  Args:
    one: pictures, uint8 [h, w, 3] each.
    other: the same of the other set.
  """
  thumbnails = [
    np.stack([augment.resize(x, size=(16, 16), method="box").astype(np.float32) / 255 for x in pictures])
    for pictures in (one, other)
  ]
  apart = np.stack([np.abs(thumbnails[0] - x).mean(axis=(1, 2, 3)) for x in thumbnails[1]], axis=1)
  return [(int(i), int(j)) for i, j in np.argwhere(apart < 0.02)]


def _listed(folder: Path) -> tuple[list[str], list[str]]:
  """Names of the images and of the folders in a folder, sorted."""
  entries = sorted(e.name for e in folder.iterdir() if not e.name.startswith("."))
  folders = [name for name in entries if (folder / name).is_dir()]
  return [name for name in entries if _is_image(name) and name not in folders], folders


def _images(folder: Path) -> list[str]:
  """Images at any depth, relative to the folder."""
  images, folders = _listed(folder)
  return images + [f"{name}/{file}" for name in folders for file in _images(folder / name)]


def _is_image(name: str) -> bool:
  return name.lower().endswith(SUFFIXES)
