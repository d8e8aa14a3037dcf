"""Person crops: from a box to centre and scale, the affine map between picture and crop, and the warp.

Two conventions say where the middle of a crop of w pixels is: "half" at w / 2, as the published protocol has
it (SimpleBaseline, HRNet), half a pixel off; "udp" at (w - 1) / 2, unbiased (Huang et al., CVPR 2020).
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.choose import choose

CONVENTIONS = ("half", "udp")
PIXELS = 200.0  # of a box of scale 1
PADDING = 1.25  # of a box, on both sides together


class Crop(NamedTuple):
  """How crops are made.

  Attributes:
    size: (height, width) in pixels.
    convention: one of `CONVENTIONS`.
    padding: the box is made so many times as large.
  """

  size: tuple[int, int]
  convention: str = "half"
  padding: float = PADDING

  @property
  def aspect(self) -> float:
    """Width over height."""
    return self.size[1] / self.size[0]

  def stride(self, maps: tuple[int, int]) -> tuple[float, float]:
    """Returns pixels of the crop for each place of a map of (height, width), for x and for y."""
    less = 1 if choose("convention", self.convention, CONVENTIONS) == "udp" else 0
    return tuple((self.size[i] - less) / (maps[i] - less) for i in (1, 0))  # type: ignore[return-value]


def clip_boxes(boxes: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
  """Clips boxes to a picture, as the published protocol does.

  x1 = max(0, x), x2 = min(width - 1, x1 + max(0, w - 1)), the same for y; the box is (x1, y1, x2 - x1, y2 -
  y1).

  Args:
    boxes: [n, 4] of x, y, w, h in pixels.
    width: of the picture.
    height: of the picture.

  Returns:
    (boxes float64 [n, 4], bool [n]: whether anything is left of a box).

  Examples:
    >>> clip_boxes(np.array([[-5.0, 2, 20, 10], [50, 0, 4, 4]]), 30, 20)[0].tolist()
    [[0.0, 2.0, 19.0, 9.0], [50.0, 0.0, -21.0, 3.0]]
  """
  x, y, w, h = np.moveaxis(np.asarray(boxes, np.float64).reshape(-1, 4), -1, 0)
  x1, y1 = np.maximum(0, x), np.maximum(0, y)
  x2 = np.minimum(width - 1, x1 + np.maximum(0, w - 1))
  y2 = np.minimum(height - 1, y1 + np.maximum(0, h - 1))
  kept = (w > 0) & (h > 0) & (x2 >= x1) & (y2 >= y1) & ((x2 > x1) | (y2 > y1))
  return np.stack([x1, y1, x2 - x1, y2 - y1], axis=-1), kept


def centre_and_scale(boxes: Any, *, aspect: float, padding: float = PADDING) -> tuple[np.ndarray, np.ndarray]:
  """Computes the centre of boxes and their scale: sides made to the aspect and padded, over 200 pixels.

  Args:
    boxes: [..., 4] of x, y, w, h in pixels.
    aspect: width / height of the crop; the side that is too short grows.
    padding: factor of both sides.

  Returns:
    (centre [..., 2] in pixels, scale [..., 2]), float64.

  Raises:
    ValueError: a box of no size, or with a negative side.

  Examples:
    >>> centre, scale = centre_and_scale([280.79, 44.73, 218.7, 346.68], aspect=192 / 256)
    >>> centre.round(2).tolist(), scale.round(7).tolist()
    ([390.14, 218.07], [1.6250625, 2.16675])
  """
  boxes = np.asarray(boxes, np.float64)
  sound = np.all(boxes[..., 2:] >= 0, axis=-1) & np.any(boxes[..., 2:] > 0, axis=-1)  # NaN is not
  if not np.all(sound):
    box = boxes.reshape(-1, 4)[int(np.argmin(sound.reshape(-1)))].tolist()
    raise ValueError(f"the box {box} (x, y, width, height) is empty: leave it out, see clip_boxes")
  x, y, w, h = np.moveaxis(boxes, -1, 0)
  scale = np.stack([np.maximum(w, aspect * h), np.maximum(h, w / aspect)], axis=-1)
  return np.stack([x + w / 2, y + h / 2], axis=-1), scale / PIXELS * padding


def crop_matrix(
  centre: Any, scale: Any, *, size: tuple[int, int], rotation: Any = 0.0, convention: str = "half"
) -> Any:
  """Computes the affine map from a picture to a crop, or to the heat map of one.

      half    T(p) = r R (p - centre) + (w, h) / 2,        r = w / (200 scale_x)
      udp     T(p) = r R (p - centre) + (w - 1, h - 1) / 2,  r = (w - 1, h - 1) / (200 scale)

  R = [[cos, sin], [-sin, cos]]: with y down, a positive angle turns the picture counter-clockwise.

  Args:
    centre: [..., 2] in pixels of the picture.
    scale: [..., 2]; "half" reads scale_x alone.
    size: (h, w) of the crop, or of the map.
    rotation: [...], degrees.
    convention: one of `CONVENTIONS`.

  Returns:
    [..., 2, 3]; of NumPy, float64, unless an argument is of JAX.

  Examples:
    >>> matrix = crop_matrix([390.14, 218.07], [1.6250625, 2.16675], size=(256, 192), rotation=30)
    >>> matrix.round(4).tolist()
    [[0.5116, 0.2954, -168.0082], [-0.2954, 0.5116, 131.672]]
  """
  choose("convention", convention, CONVENTIONS)
  xp = _library(centre, scale, rotation)
  centre, scale, angle = (xp.asarray(v, xp.result_type(float)) for v in (centre, scale, rotation))
  angle = angle * (np.pi / 180)
  last = np.array(size[::-1], np.float64) - (1 if convention == "udp" else 0)
  ratio = last / (PIXELS * (scale if convention == "udp" else scale[..., :1]))  # [..., 2]
  ratio = xp.broadcast_to(ratio if convention == "udp" else ratio[..., :1], centre.shape)
  cos, sin = xp.cos(angle), xp.sin(angle)
  turn = xp.stack([xp.stack([cos, sin], axis=-1), xp.stack([-sin, cos], axis=-1)], axis=-2)
  linear = ratio[..., :, None] * turn
  shift = last / 2 - xp.einsum("...ij,...j->...i", linear, centre)
  return xp.concatenate([linear, shift[..., None]], axis=-1)


def inverse_matrix(matrix: Any) -> Any:
  """Inverts affine maps [..., 2, 3]."""
  xp = _library(matrix)
  (a, b), (c, d) = (matrix[..., i, 0] for i in (0, 1)), (matrix[..., i, 1] for i in (0, 1))
  turned = xp.stack([xp.stack([d, -c], axis=-1), xp.stack([-b, a], axis=-1)], axis=-2)
  linear = turned / (a * d - b * c)[..., None, None]
  return xp.concatenate([linear, -linear @ matrix[..., 2:]], axis=-1)


def apply_matrix(matrix: Any, points: Any) -> Any:
  """Maps points [..., K, 2] by affine maps [..., 2, 3]."""
  return points @ _library(matrix).swapaxes(matrix[..., :2], -1, -2) + matrix[..., None, :, 2]


def to_picture(
  joints: Any, centre: Any, scale: Any, *, size: tuple[int, int], convention: str = "half"
) -> Any:
  """Maps keypoints from heat maps, or from crops, back to pixels of their pictures.

  Args:
    joints: [..., K, 2], e.g. of `heatmaps.decode`.
    centre: [..., 2], see `centre_and_scale`.
    scale: [..., 2].
    size: (height, width) of the map, or of the crop, that the joints are on.
    convention: as the crop was made.

  Returns:
    [..., K, 2].

  Examples:
    >>> place = np.array([[24.25, 32.0]])
    >>> to_picture(place, [390.14, 218.07], [1.6250625, 2.16675], size=(64, 48)).round(4).tolist()
    [[391.8328, 218.07]]
  """
  forth = crop_matrix(centre, scale, size=size, convention=convention)
  return apply_matrix(inverse_matrix(forth), joints)


def warp(image: Any, matrix: Any, *, size: tuple[int, int]) -> Any:
  """Cuts a crop out of a picture: bilinear between pixel centres, 0 outside of the picture.

  OpenCV's warpAffine does the same with places rounded to 1/32 pixel.

  Args:
    image: [H, W, C], uint8 or floating; of NumPy, or of JAX (then inside a compiled program; `jax.vmap` for
      many).
    matrix: [2, 3] from the picture to the crop.
    size: (height, width) of the crop.

  Returns:
    [*size, C] of the picture's dtype; uint8 is rounded.
  """
  xp = _library(image, matrix)
  back = inverse_matrix(xp.asarray(matrix))
  height, width = image.shape[:2]
  y, x = (np.arange(n, dtype=np.float64 if xp is np else np.float32) for n in size)
  # A border of zeros: every place beyond it is as one on it.
  sx, sy = (
    xp.clip(back[i, 0] * x + (back[i, 1] * y + back[i, 2])[:, None], -1, last)
    for i, last in ((0, width), (1, height))
  )
  left, top = xp.floor(sx), xp.floor(sy)
  right, low = ((a - b).astype(np.float32)[..., None] for a, b in ((sx, left), (sy, top)))  # shares
  padded = xp.pad(image, ((1, 2), (1, 2), (0, 0)))
  wide = width + 3
  place = (top.astype(np.int32) + 1) * wide + left.astype(np.int32) + 1
  pixels = padded.reshape(-1, image.shape[2])
  rows = []
  for down in (0, wide):
    near, far = (xp.take(pixels, place + down + side, axis=0).astype(np.float32) for side in (0, 1))
    rows.append(near + right * (far - near))
  found = rows[0] + low * (rows[1] - rows[0])
  if image.dtype == np.uint8:
    return xp.round(found).astype(np.uint8)  # never outside of 0 to 255: a mean of such values
  return found.astype(image.dtype)


def _library(*values: Any) -> ModuleType:
  """jax.numpy where any of them is an array of JAX, else NumPy."""
  return jnp if any(isinstance(v, jax.Array) for v in values) else np
