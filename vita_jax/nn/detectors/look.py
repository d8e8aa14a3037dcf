"""A detector at work: pictures of any size in, its best boxes out, and a threshold for its scores."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.nn.detectors import hog
from vita_jax.nn.detectors.boxes import non_maximum_suppression
from vita_jax.nn.detectors.detector import Detector, load


class Sight(NamedTuple):
  """What a detector sees in pictures [...]: the best `score`, and K `scores` with `boxes` [..., K, 4].

  Boxes are in pixels of the picture, after non-maximum suppression; absent ones have score 0.
  """

  score: np.ndarray
  scores: np.ndarray
  boxes: np.ndarray


def fitted(images: jax.Array, size: int) -> jax.Array:
  """Resizes images [B, N, N, 3] to a detector's side, bilinear and antialiased; as they are where it fits."""
  if images.shape[1] == size:
    return images
  return jax.image.resize(images, (images.shape[0], size, size, 3), "linear", antialias=True)


def load_to_look(name: str) -> Detector:
  """Loads a detector that is only looked with: one of `load`, or "hog", which has no gradient (see `hog.py`).

  HOG stands as a `Detector` of size 0 without variables, whose functions only `look` knows.

  Raises:
    ImportError: OpenCV is missing. ValueError, FileNotFoundError: see `load`.
  """
  if name != hog.NAME:
    return load(name)
  find = hog.finder(threshold=0.0)
  return Detector(name, 0, {}, _no_gradient, functools.partial(_each, find))


def _no_gradient(variables: Any, images: jax.Array) -> jax.Array:
  raise ValueError("hog has no gradient: it can test a texture, and not train one")


def _each(find: Callable[..., Any], boxes: int, pictures: Any) -> Any:
  """Sight of HOG, one picture after the other, with `boxes` boxes."""
  scores, places = np.zeros((len(pictures), boxes)), np.zeros((len(pictures), boxes, 4))
  for i, picture in enumerate(pictures):
    _, found = find(np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8))
    n = min(boxes, len(found.scores))
    scores[i, :n], places[i, :n] = found.scores[:n], found.boxes[:n]
  return Sight(scores[:, 0], scores, places)


def look(detector: Detector, pictures: Any, *, boxes: int = 8, at_once: int = 10) -> Sight:
  """Shows square pictures to a detector.

  Args:
    detector: see `load_to_look`.
    pictures: float [n, N, N, 3] in [0, 1].
    boxes: K, how many of the best boxes are returned.
    at_once: pictures in one call.
  """
  if not detector.size:
    seen: Any = detector.detect(boxes, pictures)
    return seen
  program, found = _program(detector.detect, detector.size, boxes), []
  for start in range(0, len(pictures), at_once):
    part = np.asarray(pictures[start : start + at_once], np.float32)
    padded = np.concatenate([part, np.repeat(part[:1], at_once - len(part), axis=0)])  # one compiled shape
    outputs = program(detector.variables, jnp.asarray(padded))
    found.append([np.asarray(x)[: len(part)] for x in outputs])
  scores, places = (np.concatenate(x) for x in zip(*found, strict=True))
  return Sight(scores[:, 0], scores, places * (pictures.shape[1] / detector.size))


@functools.cache  # compiled once for each detector
def _program(detect: Callable[..., Any], size: int, boxes: int) -> Callable[..., Any]:
  return jax.jit(functools.partial(_best, detect, size, boxes))


def _best(
  detect: Callable[..., Any], size: int, count: int, variables: Any, pictures: jax.Array
) -> tuple[jax.Array, jax.Array]:
  scores, places = detect(variables, fitted(pictures, size))
  kept, boxes, _ = jax.vmap(functools.partial(non_maximum_suppression, count=count))(scores, places)
  return kept, boxes


def threshold_of(scores: Any, false_alarms: float) -> float:
  """Returns the lowest threshold that at most this share of photographs without people exceeds.

  Args:
    scores: [n], the best score of each photograph.
    false_alarms: in [0, 1).

  Examples:
    >>> threshold_of(np.arange(20.0), 0.05)
    18.0
  """
  ordered = np.sort(np.asarray(scores, np.float64))
  allowed = min(int(false_alarms * len(ordered) + 1e-9), len(ordered) - 1)
  return float(ordered[len(ordered) - 1 - allowed])
