"""Two public pairs of synthetic training data and real test data, in their original layouts on disk.

VisDA-17 classification: `<root>/{train,validation}/image_list.txt`, a line "path label" for each picture, the
paths relative to the list. GTA5 to Cityscapes: `<root>/images/*.png` with `<root>/labels/<the same name>`,
and `<root>/{leftImg8bit,gtFine}/<split>/<city>/`. Neither may be shipped; nothing is downloaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vita_jax.data import augment
from vita_jax.data.files_image import MAX_PIXELS, read_image
from vita_jax.data.files_text import read_text

VISDA_CLASSES = tuple(
  "aeroplane bicycle bus car horse knife motorcycle person plant skateboard train truck".split()
)
CITYSCAPES_CLASSES = (
  *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
  *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
# The label ids of the 19 classes that are trained and scored; every other id is ignored.
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
IGNORE = 255


class Labelled(NamedTuple):
  """Pictures of files with their labels: a source of a Stream, rows {"image", "label"}.

  Attributes:
    images: the files.
    labels: a class for each picture, or the file of its label map.
    ids: label ids -> classes, uint8 [256], for maps.
  """

  images: tuple[str, ...]
  labels: tuple[Any, ...]
  ids: np.ndarray | None = None

  def row(self, i: int) -> dict[str, np.ndarray]:
    """Reads row i.

    Raises:
      ValueError: a file that cannot be decoded, or a map of another size than its picture.
    """
    image, label = read_image(self.images[i]), self.labels[i]
    if self.ids is None:
      return {"image": image, "label": np.asarray(label, np.int32)}
    found = self.ids[read_label_map(label)]
    if found.shape != image.shape[:2]:
      raise ValueError(
        f"{label} is {found.shape[0]} x {found.shape[1]} and its picture {image.shape[0]} x {image.shape[1]}:"
        " give maps of the pictures' sizes"
      )
    return {"image": image, "label": found}


class Rows:
  """`Labelled` with length and index, and a part of it."""

  def __init__(self, pairs: Labelled, kept: Sequence[int] | None = None):
    self.pairs = pairs
    self.kept = list(range(len(pairs.images))) if kept is None else list(kept)

  def __len__(self) -> int:
    return len(self.kept)

  def __getitem__(self, i: int) -> dict[str, np.ndarray]:
    return self.pairs.row(self.kept[i])

  def split(self, count: int, *, seed: int = 0) -> tuple[Rows, Rows]:
    """Returns (the rest, `count` rows drawn at random).

    Raises:
      ValueError: nothing would be left.
    """
    if not 0 < count < len(self):
      raise ValueError(
        f"{count} of {len(self)} pictures cannot be held out: give fewer, at least 1, or more pictures"
      )
    order = np.random.default_rng(seed).permutation(len(self))
    drawn = sorted(order[:count].tolist())
    rest = sorted(order[count:].tolist())
    return Rows(self.pairs, [self.kept[i] for i in rest]), Rows(self.pairs, [self.kept[i] for i in drawn])


def visda(root: str | os.PathLike, part: str = "train") -> Rows:
  """Lists VisDA-17's "train" (renderings) or "validation" (real crops, on which methods are compared).

  Raises:
    FileNotFoundError: no list, or the first picture that it names is not there.
    ValueError: a line that is not "path label", or a label that is no class.
  """
  folder = Path(root).expanduser() / part
  listed = folder / "image_list.txt"
  if not listed.is_file():
    raise FileNotFoundError(f"no list {listed}: give the folder that has train/ and validation/ of VisDA-17")
  images, labels = [], []
  for number, line in enumerate(read_text(listed).splitlines(), start=1):
    path, _, label = line.strip().rpartition(" ")
    if not line.strip():
      continue
    if not path or not label.isdigit() or int(label) >= len(VISDA_CLASSES):
      raise ValueError(
        f"{listed}, line {number}: '{line[:60]}' is not a path and a label from 0 to"
        f" {len(VISDA_CLASSES) - 1}: correct it"
      )
    images.append(str(folder / path))
    labels.append(int(label))
  if not images:
    raise ValueError(f"{listed} is empty: it must have a line 'path label' for each picture")
  if not Path(images[0]).is_file():
    raise FileNotFoundError(
      f"no picture {images[0]}, which {listed} names: unpack the archive beside the list"
    )
  return Rows(Labelled(tuple(images), tuple(labels)))


def gta5(root: str | os.PathLike) -> Rows:
  """Lists GTA5's frames and label maps, 19 classes of Cityscapes, the rest 255.

  Raises:
    FileNotFoundError: no folder of images, or a frame without a map.
    ValueError: no frames.
  """
  return _maps(Path(root).expanduser(), "images", "labels", "")


def cityscapes(root: str | os.PathLike, part: str = "val") -> Rows:
  """Lists Cityscapes' frames of a part with their fine label maps; errors as in `gta5`."""
  root = Path(root).expanduser()
  return _maps(root, f"leftImg8bit/{part}", f"gtFine/{part}", "leftImg8bit|gtFine_labelIds")


def _maps(root: Path, images: str, labels: str, rename: str) -> Rows:
  folder = root / images
  old, _, new = rename.partition("|")
  if not folder.is_dir():
    raise FileNotFoundError(f"no folder {folder}: give the folder that has {images} and {labels}")
  found = sorted(folder.rglob("*.png"))
  if not found:
    raise ValueError(f"{folder} has no frames: they end in .png")
  maps = []
  for path in found:
    relative = path.relative_to(folder)
    target = root / labels / relative.parent / (relative.name.replace(old, new) if old else relative.name)
    if not target.is_file():
      raise FileNotFoundError(f"no label map {target} of {path.name}: unpack the labels beside the images")
    maps.append(str(target))
  ids = np.full(256, IGNORE, np.uint8)
  ids[list(CITYSCAPES_IDS)] = np.arange(len(CITYSCAPES_IDS))
  return Rows(Labelled(tuple(map(str, found)), tuple(maps), ids))


def read_label_map(path: str | os.PathLike) -> np.ndarray:
  """Reads a PNG of label ids as they are stored, grey values or places in a palette: uint8 [h, w].

  Raises:
    ValueError: not a picture of one channel.
  """
  from PIL import Image, UnidentifiedImageError

  try:
    with Image.open(path) as file:
      if file.width * file.height > MAX_PIXELS:
        raise ValueError(f"{path} has {file.width} x {file.height} pixels, more than {MAX_PIXELS}: cut it")
      mode, found = file.mode, np.asarray(file)
  except (UnidentifiedImageError, OSError) as error:
    raise ValueError(f"{path} is no label map: {error}") from error
  if mode not in ("L", "P"):
    raise ValueError(f"{path} is no label map: its mode is {mode}, give grey values or a palette (L or P)")
  return found.astype(np.uint8)


class WholePicture(NamedTuple):
  """A transform: the shorter side to `size` pixels, then the square in the middle; nothing random."""

  size: int

  def __call__(self, row: Mapping[str, Any], rng: Any = None) -> dict[str, Any]:
    return {**row, "image": augment.square(row["image"], size=self.size)}


class SceneCrop(NamedTuple):
  """A transform of picture and label map: mirrored with probability 1/2, scaled, and a square cut out.

  Outside of the picture the image is 0 and the label 255. Without `chance` the middle, unscaled.

  Attributes:
    size: side of the square.
    scales: bounds of a uniform factor (paper: 0.75 to 1.25).
    chance: whether anything is random.
  """

  size: int
  scales: tuple[float, float] = (0.75, 1.25)
  chance: bool = True

  def __call__(self, row: Mapping[str, Any], rng: np.random.Generator | None = None) -> dict[str, Any]:
    image, label = row["image"], row["label"]
    if self.chance:
      assert rng is not None
      factor = rng.uniform(*self.scales)
      shape = tuple(max(1, round(n * factor)) for n in label.shape)
      image = augment.resize(image, size=shape, method="bicubic")
      label = augment.resize(label[..., None], size=shape, method="nearest")[..., 0]
      if rng.random() < 0.5:
        image, label = image[:, ::-1], label[:, ::-1]
    short = [max(0, self.size - n) for n in label.shape]
    pad = [(n // 2, n - n // 2) for n in short]
    image, label = np.pad(image, (*pad, (0, 0))), np.pad(label, pad, constant_values=IGNORE)
    room = [n - self.size for n in label.shape]
    place = partial(rng.integers, 0) if self.chance and rng is not None else None
    top, left = ((int(place(n + 1)) if place else n // 2) for n in room)
    window = (slice(top, top + self.size), slice(left, left + self.size))
    return {**row, "image": image[window], "label": label[window]}
