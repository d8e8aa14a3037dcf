"""Image files: decoded by Pillow, upright, with 8 bits per channel, or one clear line of error."""

from __future__ import annotations

import functools
import io
import os
import warnings
from typing import Any

import numpy as np

from vita_jax.base.choose import choose
from vita_jax.data.files import cause, existing

# Formats that Pillow decodes by itself, without other programs.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
MODES = {"RGB": 3, "L": 1}
MAX_PIXELS = 64_000_000  # 192 MB of RGB


def read_image(
  source: str | os.PathLike | bytes, *, mode: str = "RGB", max_pixels: int = MAX_PIXELS
) -> np.ndarray:
  """Decodes an image to uint8 [height, width, channels].

  The EXIF orientation is applied; of an animation the first frame is taken; transparent places show white;
  16-bit grey values keep their high 8 bits.

  Args:
    source: a path, or the file's bytes.
    mode: "RGB": three channels; "L": one, grey.
    max_pixels: of a larger image nothing is decoded.

  Raises:
    FileNotFoundError: no such file.
    ValueError: no image of the formats of `FORMATS`, a damaged or truncated one, one that is too large, or
      one of 32-bit numbers.
  """
  from PIL import Image

  choose("mode", mode, MODES)
  _silence()
  file = io.BytesIO(source) if isinstance(source, bytes) else existing(source)
  name = "the image" if isinstance(source, bytes) else str(file)
  try:
    with Image.open(file, formats=FORMATS) as image:
      width, height = image.size  # of the header: nothing is decoded yet
      if width * height > max_pixels:
        raise ValueError(f"{width} x {height} pixels are more than {max_pixels}")
      return _upright(image, mode)
  except Exception as error:  # Pillow's decoders raise many types on damaged files
    raise ValueError(f"{name} is not a readable image ({cause(error)}): replace or leave it out") from error


@functools.cache
def _silence() -> None:
  """Pillow warns of oddities in files that it reads, and of large ones, which are refused here."""
  warnings.filterwarnings("ignore", module=r"PIL\.")


def _upright(image: Any, mode: str) -> np.ndarray:
  from PIL import Image, ImageOps

  image.load()
  image = ImageOps.exif_transpose(image)
  if image.mode in ("I", "F"):
    raise ValueError("it holds 32-bit numbers; save it with 8 or 16 bits per channel")
  if image.mode.startswith("I;16"):
    image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
  if image.has_transparency_data:
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    image = Image.alpha_composite(white, image)
  pixels = np.array(image.convert(mode))
  return pixels.reshape(*pixels.shape[:2], MODES[mode])
