"""Generated street-like scenes with exact label maps, in two looks: flat synthetic ones, and textured ones.

Both looks have the same distribution of shapes; only colours, texture, light and sharpness differ. So what a
network loses from one to the other is appearance alone.
"""

from __future__ import annotations

import numpy as np

from vita_jax.base.choose import choose
from vita_jax.data.augment import blur, resize

CLASSES = ("sky", "road", "building", "car", "tree")
LOOKS = ("synthetic", "real")
IGNORE = 255  # the label of the outline between things
COLOURS = np.array([[120, 180, 250], [110, 110, 110], [190, 120, 80], [220, 40, 40], [40, 150, 50]], float)


def scenes(count: int, *, size: int = 48, look: str = "synthetic", seed: int = 0) -> dict[str, np.ndarray]:
  """Draws scenes: sky over road, and on them buildings, trees and cars of random number, size and place.

  Args:
    count: how many.
    size: side in pixels, at least 16.
    look: "synthetic": flat colours and even light; "real": other shades, coarse and fine texture, a slope of
      light, blur.
    seed: of all that is drawn.

  Returns:
    `image` uint8 [count, size, size, 3]; `label` uint8 [count, size, size], of `CLASSES`, 255 on outlines;
    `main` int32 [count]: what covers most, 0 building, 1 car, 2 tree: a class for the image.

  Raises:
    ValueError: an unknown look, or scenes too small to hold anything.

  Examples:
    >>> found = scenes(3, size=32)
    >>> found["image"].shape, sorted(set(found["label"].ravel().tolist()) - {255})[:2]
    ((3, 32, 32, 3), [0, 1])
  """
  choose("look", look, LOOKS)
  if size < 16:
    raise ValueError(f"size is {size}: scenes need at least 16 pixels")
  rng = np.random.default_rng([seed, LOOKS.index(look)])
  labels = np.stack([_layout(rng, size) for _ in range(count)])
  paint = _flat if look == "synthetic" else _textured
  images = np.stack([paint(rng, label) for label in labels])
  covers = np.stack([(labels == kind).sum(axis=(1, 2)) for kind in (2, 3, 4)], axis=1)
  outlined = np.where(_outline(labels), IGNORE, labels).astype(np.uint8)
  return {"image": images, "label": outlined, "main": np.argmax(covers, axis=1).astype(np.int32)}


def _layout(rng: np.random.Generator, size: int) -> np.ndarray:
  y, x = np.mgrid[:size, :size]
  horizon = int(size * rng.uniform(0.4, 0.65))
  label = np.where(y < horizon, 0, 1)
  for _ in range(rng.integers(0, 3)):  # buildings stand on the horizon
    left, width, height = rng.integers(size), size * rng.uniform(0.15, 0.35), size * rng.uniform(0.2, 0.5)
    label[(x >= left) & (x < left + width) & (y < horizon) & (y >= horizon - height)] = 2
  for _ in range(rng.integers(0, 3)):  # trees: a disc on the horizon
    middle, radius = rng.integers(size), size * rng.uniform(0.08, 0.2)
    label[(x - middle) ** 2 + (y - horizon + radius) ** 2 < radius**2] = 4
  for _ in range(rng.integers(1, 3)):  # cars: a box and a roof on the road
    left, top = rng.integers(size), horizon + rng.integers(max(1, size - horizon - size // 8))
    width, height = size * rng.uniform(0.2, 0.35), size * rng.uniform(0.1, 0.18)
    body = (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
    roof = (x >= left + width / 4) & (x < left + 3 * width / 4) & (y >= top - height / 2) & (y < top)
    label[body | roof] = 3
  return label


def _flat(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
  shades = np.clip(COLOURS + rng.uniform(-40, 40, COLOURS.shape), 0, 255)
  return shades[label].astype(np.uint8)


def _textured(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
  size = label.shape[0]
  picture = (0.55 * COLOURS + 40 + rng.uniform(-45, 45, COLOURS.shape))[label]
  coarse = rng.integers(0, 256, (size // 6, size // 6, 3), dtype=np.uint8)
  picture += (resize(coarse, size=(size, size), method="bicubic").astype(float) - 128) * 0.25
  picture += rng.normal(0, 14, picture.shape)
  slope = np.linspace(rng.uniform(0.5, 0.9), rng.uniform(0.9, 1.2), size)
  picture *= slope[None, :, None]
  return blur(np.clip(picture, 0, 255).astype(np.uint8), sigma=0.7)


def _outline(labels: np.ndarray) -> np.ndarray:
  """Tells where the place to the right or below has another label: bool, like the labels."""
  found = np.zeros(labels.shape, bool)
  found[:, :-1] |= labels[:, :-1] != labels[:, 1:]
  found[:, :, :-1] |= labels[:, :, :-1] != labels[:, :, 1:]
  return found
