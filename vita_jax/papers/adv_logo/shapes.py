"""Shapes of the logo: which texels are printed and which show the clothing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from vita_jax.base.choose import choose

SHAPES = ("full", "G", "H", "T", "X", "O", "C", "tw", "drop")


def shape_mask(shape: str, size: tuple[int, int]) -> np.ndarray:
  """Draws a shape, float32 [H, W]: 1 where the logo is printed, 0 where the clothing shows.

  G and H are the formulas of the released code, the other letters are drawn here; all fill the rectangle.

  Args:
    shape: one of `SHAPES`, or the path of a PNG file. Of a picture with transparency the opaque places are
      printed, of one without it the dark places.
    size: (height, width) in texels.

  Raises:
    ValueError: an unknown shape, a picture that cannot be read, or one that prints nothing.

  Examples:
    >>> shape_mask("H", (5, 5)).astype(int).tolist()
    [[1, 1, 0, 1, 1], [1, 1, 0, 1, 1], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 0, 1, 1]]
  """
  if str(shape).lower().endswith(".png"):
    return _of_picture(shape, size)
  choose("shape", shape, SHAPES)
  height, width = size
  # From -1 to 1 between the outermost texels, y up, as the released code has G; h and w count from 0 to 1.
  y, x = np.meshgrid(_centred(height)[::-1], _centred(width), indexing="ij")
  h, w = np.meshgrid(np.arange(height) / height, np.arange(width) / width, indexing="ij")
  radius = np.hypot(x, y)
  ring = (0.6 < radius) & (radius < 1)
  if shape == "full":
    drawn = np.ones(size, bool)
  elif shape == "H":
    drawn = (w < 0.4) | (w >= 0.6) | ((0.4 <= h) & (h < 0.6))
  elif shape == "G":
    drawn = (ring & ~((0 < y) & (y < x))) | ((np.abs(y) < 0.2) & (x > 0) & (radius < 1))
  elif shape == "O":
    drawn = ring
  elif shape == "C":
    drawn = ring & ~((x > 0) & (np.abs(y) < x))
  elif shape == "T":
    drawn = (h < 0.3) | (np.abs(x) < 0.35)
  elif shape == "X":
    drawn = (np.abs(x - y) < 0.4) | (np.abs(x + y) < 0.4)
  elif shape == "tw":
    drawn = _tw(h, w)
  else:
    point = (y > -0.3) & (np.abs(x) < 0.7 * (1 - y) / 1.3)
    drawn = point | (np.hypot(x / 0.7, (y + 0.3) / 0.7) < 1)
  return drawn.astype(np.float32)


def _centred(n: int) -> np.ndarray:
  """Places of n texels from -1 to 1."""
  return (2 * np.arange(n) - (n - 1)) / max(n - 1, 1)


def _tw(h: np.ndarray, w: np.ndarray) -> np.ndarray:
  """The letters t and w side by side; h down and w to the right, from 0 to 1."""
  t = (
    (np.abs(w - 0.2) < 0.09) | ((np.abs(h - 0.3) < 0.09) & (w < 0.4)) | ((h > 0.82) & (0.11 < w) & (w < 0.4))
  )
  slope = (w - 0.45) / 0.55 * 4  # four strokes
  stroke = np.clip(np.floor(slope), 0, 3)
  down = np.where(stroke % 2 == 0, slope - stroke, 1 - (slope - stroke))
  letter = (np.abs(0.2 + 0.8 * down - h) < 0.25) & (w > 0.45) & (h > 0.2)
  return t | letter


def _of_picture(path: str | os.PathLike, size: tuple[int, int]) -> np.ndarray:
  from PIL import Image

  if not Path(path).is_file():
    raise FileNotFoundError(f"no file {path}: give a PNG picture of the shape, or one of {', '.join(SHAPES)}")
  try:
    with Image.open(path, formats=("PNG",)) as image:
      small = image.convert("RGBA").resize(size[::-1], Image.Resampling.BOX)
  except Exception as error:  # Pillow's decoders raise many types on damaged files
    raise ValueError(f"{path} is not a readable PNG picture: {str(error).splitlines()[0]}") from error
  pixels = np.asarray(small, np.float32) / 255
  opaque = pixels[..., 3]
  drawn = opaque >= 0.5 if opaque.min() < 0.5 else pixels[..., :3].mean(axis=-1) < 0.5
  if not drawn.any():
    raise ValueError(f"{path} prints nothing: draw the shape opaque on transparent, or dark on light")
  return drawn.astype(np.float32)
