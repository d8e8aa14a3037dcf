"""Digits rendered from the fonts that come with matplotlib: a synthetic side of handwriting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vita_jax.base.choose import choose

FONTS = (
  "DejaVuSans",
  "DejaVuSans-Bold",
  "DejaVuSans-BoldOblique",
  "DejaVuSans-Oblique",
  "DejaVuSansMono",
  "DejaVuSansMono-Bold",
  "DejaVuSansMono-BoldOblique",
  "DejaVuSansMono-Oblique",
  "DejaVuSerif",
  "DejaVuSerif-Bold",
  "DejaVuSerif-BoldItalic",
  "DejaVuSerif-Italic",
  "STIXGeneral",
  "STIXGeneralBolIta",
  "STIXGeneralItalic",
  "cmr10",
  "cmss10",
  "cmtt10",
)
# Other families than those that train: more faces of DejaVu are too easy to tell networks apart.
HELD_OUT = FONTS[12:]
SIDE = 48  # pixels that a digit is drawn on before it is shrunk
POINTS, TILT = (34, 45), 10.0


def render_digits(
  count: int, *, size: int = 28, fonts: Sequence[str] = FONTS, seed: int = 0
) -> dict[str, np.ndarray]:
  """Renders white digits on black: a random font, height (34 to 44 of 48 pixels), tilt and place.

  The ten digits are equally frequent. The same arguments give the same pictures.

  Args:
    count: how many.
    size: side in pixels, e.g. 28 for MNIST.
    fonts: of `FONTS`.
    seed: of all that is drawn.

  Returns:
    `image` uint8 [count, size, size, 1] and `label` int32 [count].

  Raises:
    ValueError: an unknown font, or none.

  Examples:
    >>> found = render_digits(20, size=8)
    >>> found["image"].shape, sorted(set(found["label"].tolist())) == list(range(10))
    ((20, 8, 8, 1), True)
  """
  from PIL import Image, ImageDraw, ImageFont

  if not fonts:
    raise ValueError("there are no fonts: name at least one")
  files = [str(_file(choose("font", name, FONTS))) for name in fonts]
  loaded = {(f, p): ImageFont.truetype(f, p) for f in files for p in range(*POINTS)}
  rng = np.random.default_rng(seed)
  labels = np.resize(rng.permutation(10), count).astype(np.int32)
  images = np.empty((count, size, size, 1), np.uint8)
  for i, label in enumerate(labels):
    font = loaded[files[rng.integers(len(files))], int(rng.integers(*POINTS))]
    canvas = Image.new("L", (SIDE, SIDE))
    shift = rng.integers(-3, 4, 2)
    middle = (SIDE // 2 + int(shift[0]), SIDE // 2 + int(shift[1]))
    ImageDraw.Draw(canvas).text(middle, str(label), fill=255, font=font, anchor="mm")
    canvas = canvas.rotate(float(rng.uniform(-TILT, TILT)), Image.Resampling.BILINEAR)
    images[i, ..., 0] = np.asarray(canvas.resize((size, size), Image.Resampling.BILINEAR))
  return {"image": images, "label": labels}


def _file(name: str) -> Path:
  import matplotlib

  return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
