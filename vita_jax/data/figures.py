"""Generated articulated figures with exact keypoints, in COCO's order: for tests and searches on a CPU.

Left and right limbs have the same colour. Which is which is seen in the face alone, so that a network must
relate places far apart: people who face away have their left on the left.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vita_jax.data.augment import resize
from vita_jax.data.people import AREA, extent_boxes
from vita_jax.pose.skeletons import FIGURES

HEADS = 8  # heights of the head unit u in a person
NOISE, SMOOTH = 0.04, 0.25  # deviations: of pixels, and of the background's 6 x 6 blots


class Body(NamedTuple):
  """A figure before it is drawn.

  Attributes:
    joints: float64 [17, 2].
    neck: [2].
    unit: u in pixels, an eighth of the height.
    towards: whether it faces the camera.
  """

  joints: np.ndarray
  neck: np.ndarray
  unit: float
  towards: bool


def figures(count: int, *, size: int = 64, seed: int = 0) -> dict[str, np.ndarray]:
  """Draws figures of random height, place, tilt, breadth, pose, colours and direction before clutter.

  Args:
    count: how many.
    size: side in pixels, at least 32.
    seed: of all that is drawn.

  Returns:
    `image` uint8 [count, size, size, 3]; `joints` float32 [count, 17, 2]; `visible` float32 [count, 17]: in
    the picture, nose and eyes only of those who face the camera; `box` float32 [count, 4], x, y, w, h: the
    extent of the visible keypoints, u wider all around; `area` float32 [count]: 0.53 of the box's; `length`
    float32 [count]: u, an eighth of the height, in which PCK is told.

  Raises:
    ValueError: pictures too small, or none.

  Examples:
    >>> found = figures(2, size=32)
    >>> found["image"].shape, found["joints"].shape
    ((2, 32, 32, 3), (2, 17, 2))
  """
  if size < 32 or count < 1:
    raise ValueError(f"{count} figures of {size} pixels: give at least one, and at least 32 pixels")
  rng = np.random.default_rng(seed)
  images, bodies = np.empty((count, size, size, 3), np.uint8), []
  for i in range(count):
    bodies.append(body(rng, size))
    images[i] = np.round(255 * picture(rng, bodies[-1], size)).astype(np.uint8)
  joints = np.stack([b.joints for b in bodies])
  visible = np.all((joints >= 0) & (joints <= size - 1), axis=-1)
  visible[:, :3] &= np.array([b.towards for b in bodies])[:, None]
  units = np.array([b.unit for b in bodies])
  boxes = extent_boxes(joints, visible, margin=units)
  return {
    "image": images,
    "joints": joints.astype(np.float32),
    "visible": visible.astype(np.float32),
    "box": boxes.astype(np.float32),
    "area": (AREA * boxes[:, 2] * boxes[:, 3]).astype(np.float32),
    "length": units.astype(np.float32),
  }


def body(rng: np.random.Generator, size: int) -> Body:
  """Draws the keypoints of a figure; "left" is that of the figure."""
  height = rng.uniform(0.35, 0.9) * size
  u = height / HEADS
  centre = size / 2 + rng.uniform(-0.08, 0.08, 2) * size
  tilt = rng.normal(0, 0.35)
  towards = bool(rng.random() < 0.5)
  breadth = u * rng.uniform(0.35, 1)
  up = _turned(tilt, 0, -1)
  side = (1 if towards else -1) * _turned(tilt, 1, 0)  # to the left of the figure
  neck, pelvis = centre + 2.2 * u * up, centre - 0.4 * u * up
  head = neck + u * up
  joints = np.zeros((len(FIGURES.names), 2))
  joints[0] = head
  for first, sign in ((1, 1), (2, -1)):  # left, right
    across = sign * breadth * side
    joints[first] = head + 0.3 * across + 0.25 * u * up
    joints[first + 2] = head + 0.6 * across + 0.1 * u * up
    joints[first + 4], joints[first + 10] = neck + 1.1 * across, pelvis + 0.6 * across
    arm, leg = rng.uniform(-2.6, 2.6) + tilt, rng.uniform(-0.9, 0.9) + tilt
    joints[first + 6] = joints[first + 4] + _turned(arm, 0, 1.4 * u)
    joints[first + 8] = joints[first + 6] + _turned(arm + rng.uniform(-2, 2), 0, 1.3 * u)
    joints[first + 12] = joints[first + 10] + _turned(leg, 0, 1.9 * u)
    joints[first + 14] = joints[first + 12] + _turned(leg + rng.uniform(-1, 1), 0, 1.8 * u)
  return Body(joints, neck, u, towards)


def picture(rng: np.random.Generator, body: Body, size: int) -> np.ndarray:
  """Draws a figure, float32 [size, size, 3] in [0, 1]: background, clutter, torso, legs, arms, head."""
  canvas = np.empty((size, size, 3), np.float32)
  canvas[:] = rng.uniform(0, 1, 3)
  canvas += resize(rng.normal(0, SMOOTH, (6, 6, 3)).astype(np.float32), size=(size, size), method="bilinear")
  for _ in range(rng.integers(3, 9)):
    start, along = rng.uniform(0, size, 2), rng.normal(0, size / 4, 2)
    _line(canvas, start, start + along, rng.uniform(1, 3), rng.uniform(0, 1, 3))
  p, u, width = body.joints, body.unit, max(1.0, 0.45 * body.unit)
  torso, legs, arms, head = rng.uniform(0, 1, (4, 3))
  around = (p[5], body.neck, p[6], p[12], p[11])
  sides = [(around[i], around[(i + 1) % 5]) for i in range(5)]
  for a, b in (*sides, (p[5], p[12]), (p[6], p[11])):
    _line(canvas, a, b, width, torso)
  for colour, limbs in (
    (legs, ((11, 13), (13, 15), (12, 14), (14, 16))),
    (arms, ((5, 7), (7, 9), (6, 8), (8, 10))),
  ):
    for a, b in limbs:
      _line(canvas, p[a], p[b], width, colour)
  _line(canvas, p[0], p[0], 1.5 * u, head)
  if body.towards:
    for dot in p[:3]:
      _line(canvas, dot, dot, 0.32 * u, 1 - head)
  return np.clip(canvas + rng.normal(0, NOISE, canvas.shape), 0, 1).astype(np.float32)


def _turned(angle: float, x: float, y: float) -> np.ndarray:
  """(x, y) turned by an angle in radians; y points down."""
  cos, sin = np.cos(angle), np.sin(angle)
  return np.array([cos * x - sin * y, sin * x + cos * y])


def _line(canvas: np.ndarray, a: np.ndarray, b: np.ndarray, width: float, colour: np.ndarray) -> None:
  """Paints a line with round ends, anti-aliased over a pixel; a disc where the ends are one."""
  reach = width / 2 + 1
  last = np.array(canvas.shape[1::-1]) - 1
  low = np.clip(np.floor(np.minimum(a, b) - reach), 0, last + 1).astype(int)
  high = np.clip(np.ceil(np.maximum(a, b) + reach), -1, last).astype(int) + 1
  if np.any(low >= high):
    return
  y, x = np.mgrid[low[1] : high[1], low[0] : high[0]].astype(np.float64)
  along = b - a
  share = ((x - a[0]) * along[0] + (y - a[1]) * along[1]) / max(float(along @ along), 1e-9)
  share = np.clip(share, 0, 1)
  distance = np.hypot(x - a[0] - share * along[0], y - a[1] - share * along[1])
  cover = np.clip(width / 2 + 0.5 - distance, 0, 1)[..., None].astype(np.float32)
  part = canvas[low[1] : high[1], low[0] : high[0]]
  part += cover * (colour.astype(np.float32) - part)
