"""Photographs of any size before a detector, and its boxes back in their pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.metrics.detection import Found
from vita_jax.nn.detectors.boxes import non_maximum_suppression
from vita_jax.nn.detectors.detector import Detector

GREY = 114  # of what is added beside a picture that is no square


class Fitted(NamedTuple):
  """A picture in a square: `image` float32 [size, size, 3] in [0, 1]; pixel = (place - offset) / scale."""

  image: np.ndarray
  scale: float
  offset: np.ndarray


def fit(image: np.ndarray, size: int) -> Fitted:
  """Resizes a picture uint8 [height, width, 3] so that it fits in a square, with grey beside it.

  Examples:
    >>> fitted = fit(np.zeros((50, 100, 3), np.uint8), 200)
    >>> fitted.image.shape, fitted.scale, fitted.offset.tolist()
    ((200, 200, 3), 2.0, [0.0, 50.0])
  """
  from PIL import Image

  height, width = image.shape[:2]
  scale = size / max(height, width)
  shape = max(1, round(width * scale)), max(1, round(height * scale))
  resized = Image.fromarray(image).resize(shape, Image.Resampling.BILINEAR)  # antialiased where it shrinks
  left, top = (size - shape[0]) // 2, (size - shape[1]) // 2
  square = np.full((size, size, 3), GREY, np.uint8)
  square[top : top + shape[1], left : left + shape[0]] = np.asarray(resized)
  return Fitted(square.astype(np.float32) / 255.0, scale, np.array([left, top], np.float64))


def finder(
  detector: Detector, *, threshold: float, overlap: float = 0.6, count: int = 50
) -> Callable[[np.ndarray], tuple[float, Found]]:
  """Returns a function from a picture uint8 [height, width, 3] to its best score and the boxes in it.

  Boxes are in pixels of the picture, cut at its border, at most `count`, by falling score.

  Args:
    detector: from `load`.
    threshold: boxes with lower scores are left out.
    overlap: of boxes with a larger intersection over union the best stays.
    count: at most so many boxes.
  """

  @jax.jit
  def program(variables: Any, image: jax.Array) -> tuple[jax.Array, ...]:
    scores, boxes = detector.detect(variables, image[None])
    best = jnp.max(scores)
    kept = non_maximum_suppression(scores[0], boxes[0], count=count, threshold=overlap, least=threshold)
    return best, *kept

  def find(image: np.ndarray) -> tuple[float, Found]:
    fitted = fit(image, detector.size)
    best, scores, boxes, kept = jax.device_get(program(detector.variables, fitted.image))
    corners = (boxes[kept].astype(np.float64) - np.tile(fitted.offset, 2)) / fitted.scale
    height, width = image.shape[:2]
    return float(best), Found(scores[kept], np.clip(corners, 0, [width, height, width, height]))

  return find
