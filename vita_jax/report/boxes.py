"""Boxes drawn into a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

COLOUR = (255, 60, 0)


def draw_boxes(image: np.ndarray, boxes: np.ndarray, labels: Sequence[str] = ()) -> np.ndarray:
  """Draws boxes with their labels at the upper left corner.

  Args:
    image: uint8 [height, width, 3], RGB.
    boxes: [n, 4] of x0, y0, x1, y1 in pixels.
    labels: one for each box, or none.

  Returns:
    A new uint8 [height, width, 3].
  """
  from PIL import Image, ImageDraw, ImageFont

  picture = Image.fromarray(image)
  draw = ImageDraw.Draw(picture)
  line = max(2, round(max(image.shape[:2]) / 300))
  font = ImageFont.load_default(size=max(10.0, max(image.shape[:2]) / 40))
  for i, box in enumerate(np.asarray(boxes, np.float64).reshape(-1, 4)):
    x0, y0, x1, y1 = (float(v) for v in box)
    draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=COLOUR, width=line)
    if i < len(labels):
      place = draw.textbbox((x0 + line, y0 + line), labels[i], font=font)
      draw.rectangle(place, fill=COLOUR)
      draw.text((x0 + line, y0 + line), labels[i], fill=(255, 255, 255), font=font)
  return np.asarray(picture)
