"""Poses drawn into pictures: limbs of any skeleton, left, right and middle in colours of their own."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vita_jax.metrics.keypoints import oks
from vita_jax.pose.skeletons import Skeleton

LEFT, RIGHT, MIDDLE = (230, 159, 0), (86, 180, 233), (240, 240, 240)  # of Okabe and Ito, and a light grey


def draw_skeletons(
  image: np.ndarray,
  joints: Any,
  skeleton: Skeleton,
  *,
  scores: Any = None,
  threshold: float = 0.0,
  scale: int = 1,
) -> np.ndarray:
  """Draws the poses of persons into a picture.

  Limbs that touch a left keypoint are orange, a right one blue, others grey. (Left is told by the names of a
  flip pair, else it is its first.) A limb is drawn where both its keypoints are.

  Args:
    image: uint8 [height, width, 3], RGB.
    joints: [n, K, 2] of x and y in pixels, or [K, 2] of one person.
    skeleton: of the keypoints.
    scores: [n, K] or [K]: keypoints of at most `threshold` are left out; visibilities serve, too. None: all
      are drawn.
    threshold: see `scores`.
    scale: the picture is enlarged so many times first, so that thin lines show on small crops.

  Returns:
    A new uint8 [height scale, width scale, 3].

  Raises:
    ValueError: another number of keypoints.
  """
  from PIL import Image, ImageDraw

  points = np.asarray(joints, np.float64)
  if points.shape[-2:] != (skeleton.n_keypoints, 2):
    raise ValueError(
      f"joints are {points.shape}: skeleton '{skeleton.name}' has {skeleton.n_keypoints} keypoints of 2"
      " numbers"
    )
  points = points.reshape(-1, skeleton.n_keypoints, 2)
  drawn = np.asarray(np.isfinite(points).all(axis=-1))
  if scores is not None:
    drawn &= np.asarray(scores, np.float64).reshape(drawn.shape) > threshold
  height, width = image.shape[:2]
  picture = Image.fromarray(np.ascontiguousarray(image))
  if scale > 1:
    picture = picture.resize((width * scale, height * scale), Image.Resampling.NEAREST)
  draw = ImageDraw.Draw(picture)
  line = max(1, round(max(picture.size) / 160))
  places = (points + 0.5) * scale - 0.5
  colours = _colours(skeleton)
  for person, seen in zip(places, drawn, strict=True):
    for a, b in skeleton.limbs:
      if seen[a] and seen[b]:
        ends = [tuple(person[a]), tuple(person[b])]
        draw.line(ends, fill=_of_limb(colours, a, b), width=line)
    for k in np.flatnonzero(seen):
      x, y = person[k]
      box = (x - line, y - line, x + line, y + line)
      draw.ellipse(box, fill=colours[k], outline=(0, 0, 0))
  return np.asarray(picture)


def draw_worst(rows: Mapping[str, Any], found: np.ndarray, skeleton: Skeleton, *, shown: int = 24) -> Any:
  """Draws the crops whose keypoints are least like the labels, by OKS: above these, below what was found.

  Args:
    rows: `image`, `joints`, `visible` and `area`, as `vita_jax.data.load_poses` gives them.
    found: [n, K, 2] in pixels of the crops.
    skeleton: of the keypoints.
    shown: how many crops.

  Returns:
    A Figure of Matplotlib.
  """
  from matplotlib.figure import Figure

  scores = oks(found, rows["joints"], rows["visible"], rows["area"], skeleton.sigmas)
  pairs = []
  for i in np.argsort(np.asarray(scores), kind="stable")[:shown]:
    draw = functools.partial(draw_skeletons, rows["image"][i], skeleton=skeleton, scale=2)
    pairs.append(np.concatenate([draw(rows["joints"][i], scores=rows["visible"][i]), draw(found[i])]))
  figure = Figure(figsize=(8, 8), layout="constrained")
  axes = figure.add_subplot()
  axes.imshow(sheet(pairs))
  axes.set_axis_off()
  axes.set_title("lowest OKS first; above: labels, below: found", fontsize=9)
  return figure


def sheet(pictures: Sequence[np.ndarray], *, columns: int = 8, gap: int = 2) -> np.ndarray:
  """Lays pictures of one size out in rows: uint8 [h, w, 3] each -> one picture, the gaps white.

  Raises:
    ValueError: no pictures.

  Examples:
    >>> sheet([np.zeros((4, 6, 3), np.uint8)] * 3, columns=2, gap=1).shape
    (11, 15, 3)
  """
  if not len(pictures):
    raise ValueError("a sheet needs at least one picture")
  height, width = pictures[0].shape[:2]
  columns = min(columns, len(pictures))
  rows = -(-len(pictures) // columns)
  found = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
  for i, picture in enumerate(pictures):
    top, left = (n * (side + gap) + gap for n, side in zip(divmod(i, columns), (height, width), strict=True))
    found[top : top + height, left : left + width] = picture
  return found


def _colours(skeleton: Skeleton) -> list[tuple[int, int, int]]:
  """The colour of each keypoint."""
  found = [MIDDLE] * skeleton.n_keypoints
  for left, right in skeleton.flip_pairs:
    if "right" in skeleton.names[left].lower():
      left, right = right, left
    found[left], found[right] = LEFT, RIGHT
  return found


def _of_limb(colours: list[tuple[int, int, int]], a: int, b: int) -> tuple[int, int, int]:
  """The colour that the two ends agree on; grey where they are of both sides."""
  sides = {colours[a], colours[b]} - {MIDDLE}
  return sides.pop() if len(sides) == 1 else MIDDLE
