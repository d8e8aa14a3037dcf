"""Emoji drawings of the ten classes of CIFAR-10, and pictures rendered from them on random backgrounds.

213 drawings in five styles ship (Apache-2.0 and MIT, see NOTICE); 148 more in three styles (Creative Commons)
are read from $VITA_DATA_DIR/vision/emoji_cifar10.npz.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vita_jax.base.choose import choose
from vita_jax.base.files import read_json
from vita_jax.data import sources
from vita_jax.data.augment import resize
from vita_jax.data.images import CIFAR10_CLASSES

STYLES = ("fluent-emoji", "fluent-emoji-flat", "fxemoji", "noto", "noto-v1")
MORE_STYLES = ("emojione", "openmoji", "twemoji")
KINDS = ("shipped", "all")
SCALE = (0.5, 0.95)  # of the drawing's side in the picture's
TILT = 15.0  # degrees, at most


class Drawings(NamedTuple):
  """Drawings with transparent backgrounds.

  Attributes:
    rgba: uint8 [n, 128, 128, 4].
    label: int32 [n], in the order of `vita_jax.data.images.CIFAR10_CLASSES`.
    style: of each, one of `STYLES` and `MORE_STYLES`.
    name: of each, e.g. "horse-face".
    source: where they come from.
  """

  rgba: np.ndarray
  label: np.ndarray
  style: tuple[str, ...]
  name: tuple[str, ...]
  source: str

  def of_styles(self, styles: Sequence[str]) -> Drawings:
    """Returns those of these styles.

    Raises:
      ValueError: a style that there is not.
    """
    for style in styles:
      choose("style of emoji", style, sorted(set(self.style)))
    kept = [i for i, style in enumerate(self.style) if style in styles]
    kinds, names = (tuple(x[i] for i in kept) for x in (self.style, self.name))
    return Drawings(self.rgba[kept], self.label[kept], kinds, names, self.source)


def load_emoji(kind: str = "shipped") -> Drawings:
  """Loads the drawings: those that ship, or "all" 361 of them.

  Raises:
    ValueError: an unknown kind, or a file that is not the recorded one.
    FileNotFoundError: "all", and there is no such file.

  Examples:
    >>> drawings = load_emoji()
    >>> drawings.rgba.shape, sorted(set(drawings.style)) == sorted(STYLES)
    ((213, 128, 128, 4), True)
  """
  name = {"shipped": "emoji", "all": "emoji/all"}[choose("emoji", kind, KINDS)]
  arrays = sources.load(name)
  styles = tuple(str(x).rpartition("-")[0] if kind == "all" else str(x) for x in arrays["set"])
  names = tuple(str(x) for x in arrays["name"])
  return Drawings(arrays["rgba"], arrays["label"].astype(np.int32), styles, names, f"{len(names)} emoji")


def render(drawings: Drawings, count: int, *, size: int, seed: int = 0) -> dict[str, np.ndarray]:
  """Renders pictures: a drawing mirrored, tilted, scaled and placed at random, on a random background.

  Classes are equally frequent, and within a class its drawings. Backgrounds are one colour, a slope between
  two, or a field of smooth blots. The same arguments give the same pictures.

  Args:
    drawings: at least one.
    count: how many pictures.
    size: their side in pixels.
    seed: of all that is drawn.

  Returns:
    `image` uint8 [count, size, size, 3] and `label` int32 [count].

  Examples:
    >>> found = render(load_emoji(), 4, size=32)
    >>> found["image"].shape, len(set(found["label"].tolist()))
    ((4, 32, 32, 3), 4)
  """
  rng = np.random.default_rng(seed)
  classes = np.unique(drawings.label)
  labels = np.resize(rng.permutation(classes), count).astype(np.int32)
  of_class = {c: np.flatnonzero(drawings.label == c) for c in classes}
  images = np.empty((count, size, size, 3), np.uint8)
  for i, label in enumerate(labels):
    drawing = drawings.rgba[rng.choice(of_class[label])]
    images[i] = _placed(drawing, background(rng, size), rng)
  return {"image": images, "label": labels}


def background(rng: np.random.Generator, size: int) -> np.ndarray:
  """Draws a background, uint8 [size, size, 3]: one colour, a slope, or blots, each as often."""
  kind, colours = rng.integers(3), rng.integers(0, 256, (2, 3)).astype(np.float32)
  if kind == 0:
    found = np.broadcast_to(colours[0], (size, size, 3))
  elif kind == 1:
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:size, :size] / max(size - 1, 1) - 0.5
    share = np.clip(0.5 + np.cos(angle) * x + np.sin(angle) * y, 0, 1)[..., None]
    found = (1 - share) * colours[0] + share * colours[1]
  else:
    coarse = rng.integers(0, 256, (rng.integers(2, 7), rng.integers(2, 7), 3), dtype=np.uint8)
    found = resize(coarse, size=(size, size), method="bicubic")
  return np.asarray(found, np.uint8)


def imagenet_groups() -> np.ndarray:
  """Returns the class of CIFAR-10 of each class of ImageNet-1k, int32 [1000]; -1: of none of the ten.

  CIFAR-10's deer are ImageNet's antelopes, the nearest that there are.

  Examples:
    >>> groups = imagenet_groups()
    >>> int((groups >= 0).sum()), CIFAR10_CLASSES[groups[339]]
    (218, 'horse')
  """
  path = sources.SHIPPED / "emoji" / "imagenet_of_cifar10.json"
  found, members = np.full(1000, -1, np.int32), read_json(path)
  for number, name in enumerate(CIFAR10_CLASSES):
    found[members[name]] = number
  return found


def _placed(drawing: np.ndarray, behind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  from PIL import Image

  size = behind.shape[0]
  drawing = drawing[:, ::-1] if rng.random() < 0.5 else drawing
  picture = Image.fromarray(np.ascontiguousarray(drawing), "RGBA")
  tilt, share = float(rng.uniform(-TILT, TILT)), float(rng.uniform(*SCALE))
  side = max(4, round(share * size))
  picture = picture.rotate(tilt, Image.Resampling.BICUBIC).resize((side, side), Image.Resampling.LANCZOS)
  left, top = (int(rng.integers(size - side + 1)) for _ in range(2))
  whole = Image.fromarray(behind)
  whole.paste(picture, (left, top), picture)
  return np.asarray(whole)
