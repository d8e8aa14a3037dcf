"""Heat maps: Gaussian targets, their loss, flip test and decoding, all batched and inside a compiled program.

The protocol is that of SimpleBaseline and HRNet (Xiao et al., ECCV 2018; Sun et al., CVPR 2019); "dark" is
Zhang et al., CVPR 2020, and "udp" Huang et al., CVPR 2020.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.choose import choose
from vita_jax.pose.skeletons import Skeleton, flip_order

METHODS = ("argmax", "quarter", "dark", "udp")
CENTRES = ("rounded", "exact")
FAR = 1e6  # places outside of any map: where keypoints without label are put, whatever their coordinates say


class Decoded(NamedTuple):
  """Keypoints that were read from heat maps.

  Attributes:
    joints: float32 [..., K, 2]: x and y in places of the map.
    scores: float32 [..., K]: the maxima of the maps.
  """

  joints: jax.Array
  scores: jax.Array


def gaussian_targets(
  joints: jax.Array,
  visible: jax.Array,
  *,
  size: tuple[int, int],
  stride: float | tuple[float, float],
  sigma: float,
  centre: str = "rounded",
) -> tuple[jax.Array, jax.Array]:
  """Computes target heat maps and the weights of the keypoints.

  Y[j, i] = exp(-((i - mx)^2 + (j - my)^2) / (2 sigma^2)) on the square |i - mx|, |j - my| <= 3 sigma, 0
  outside. (mx, my) = int(joint / stride + 1/2), truncated towards 0, so that the peak is exactly 1. A
  keypoint whose square lies wholly outside of the map has weight 0.

  Args:
    joints: [..., K, 2]: x and y in pixels of the network's input.
    visible: [..., K]: 0 is not labelled; anything above counts as 1 (COCO's 1, occluded, too).
    size: (height, width) of the maps.
    stride: pixels for each place of the map, or (for x, for y). In the convention "udp" it is (input - 1) /
      (map - 1).
    sigma: of the Gaussian, in places of the map.
    centre: "rounded"; or "exact": (mx, my) = joint / stride, the unbiased encoding of DARK and UDP.

  Returns:
    (targets [..., height, width, K], weights [..., K]), both float32.

  Raises:
    ValueError: joints that are not [..., K, 2] or visibilities that are not [..., K].

  Examples:
    >>> targets, weights = gaussian_targets(
    ...   jnp.array([[[100.0, 60.0]]]), jnp.ones((1, 1)), size=(64, 48), stride=4, sigma=2
    ... )
    >>> [f"{float(y):.4f}" for y in targets[0, 15, 25:33:2, 0]], weights.tolist()
    (['1.0000', '0.6065', '0.1353', '0.0111'], [[1.0]])
  """
  choose("centre", centre, CENTRES)
  check_joints(joints, visible)
  seen = (visible > 0)[..., None]
  place = jnp.where(seen, joints.astype(jnp.float32) / jnp.asarray(stride, jnp.float32), -FAR)
  if centre == "rounded":
    place = jnp.trunc(place + 0.5)
  height, width = size
  reach = 3.0 * sigma
  x, y = place[..., None, :, 0], place[..., None, :, 1]  # [..., 1, K]
  across = jnp.arange(width, dtype=jnp.float32)[:, None] - x  # [..., width, K]
  down = jnp.arange(height, dtype=jnp.float32)[:, None] - y
  # The Gaussian is a product of one of rows and one of columns, and the square of two intervals.
  columns, rows = (
    jnp.where(jnp.abs(d) <= reach, jnp.exp(-jnp.square(d) / (2.0 * sigma**2)), 0.0) for d in (across, down)
  )
  limits = jnp.asarray([width - 1, height - 1], jnp.float32)
  inside = jnp.all((place + reach >= 0) & (place - reach <= limits), axis=-1)
  weights = inside.astype(jnp.float32)
  return rows[..., :, None, :] * columns[..., None, :, :], weights


def heatmap_loss(
  maps: jax.Array, targets: jax.Array, weights: jax.Array, *, mask: jax.Array | None = None
) -> jax.Array:
  """Computes half the mean, over batch, keypoints and places, of (weight (map - target))^2.

  Keypoints of weight 0 add nothing and still count in the mean.

  Args:
    maps: [B, h, w, K].
    targets: [B, h, w, K].
    weights: [B, K].
    mask: [B], 0 for padded rows, which are left out of the mean; None: all count.

  Returns:
    A scalar, float32.
  """
  error = (maps.astype(jnp.float32) - targets) * weights[:, None, None, :]
  rows = 0.5 * jnp.mean(jnp.square(error), axis=(1, 2, 3))
  if mask is None:
    return jnp.mean(rows)
  return jnp.sum(jnp.where(mask > 0, rows, 0.0)) / jnp.maximum(jnp.sum(mask > 0), 1)


def flip_heatmaps(maps: jax.Array, skeleton: Skeleton, *, shift: int = 1) -> jax.Array:
  """Turns the heat maps of mirrored pictures into those of the pictures: [..., h, w, K] -> the same.

  Columns are reversed and left and right keypoints change channels. Then the map moves `shift` columns to the
  right, and the first ones keep what they have: 1 in the convention "half" of crops, whose places are half a
  pixel off, and 0 in "udp".

  Raises:
    ValueError: maps of another number of keypoints.
  """
  if maps.shape[-1] != skeleton.n_keypoints:
    raise ValueError(
      f"the maps have {maps.shape[-1]} channels and skeleton '{skeleton.name}' {skeleton.n_keypoints}"
      " keypoints"
    )
  turned = maps[..., ::-1, :][..., np.array(flip_order(skeleton))]
  if not shift:
    return turned
  return jnp.concatenate([turned[..., :shift, :], turned[..., :-shift, :]], axis=-2)


def flip_test(
  apply: Callable[[jax.Array], jax.Array], images: jax.Array, skeleton: Skeleton, *, shift: int = 1
) -> jax.Array:
  """Averages the heat maps of pictures and of the mirrored pictures, see `flip_heatmaps`.

  Args:
    apply: images -> maps; it is called once, with both: [2 B, H, W, C] -> [2 B, h, w, K].
    images: [B, H, W, C].
    skeleton: of the keypoints.
    shift: see `flip_heatmaps`.

  Returns:
    [B, h, w, K].
  """
  # One call: a program that holds the network twice takes twice as long to compile.
  plain, mirrored = jnp.split(apply(jnp.concatenate([images, images[:, :, ::-1]])), 2)
  return (plain + flip_heatmaps(mirrored, skeleton, shift=shift)) / 2


def decode(heatmaps: jax.Array, *, method: str = "quarter", sigma: float = 2.0) -> Decoded:
  """Reads keypoints from heat maps.

      argmax    the place of the (first) maximum
      quarter   moved by 1/4 towards the greater of its neighbours, in x and in y; not in columns and rows 0,
                1 and the last one
      dark      the maximum of the second-order expansion of the logarithm of the smoothed map, its second
                derivatives over two places
      udp       the same with second derivatives over one place

  Where the maximum is 0 or less, the keypoint is (0, 0).

  Args:
    heatmaps: [..., h, w, K].
    method: one of `METHODS`.
    sigma: of the smoothing of "dark" and "udp", in places: that of the targets.

  Returns:
    `Decoded`: joints in places of the map, see `to_input` and `crops.to_picture`.

  Examples:
    >>> heat = jnp.zeros((1, 8, 8, 1)).at[0, 3, 4, 0].set(1.0).at[0, 3, 5, 0].set(0.5)
    >>> found = decode(heat)
    >>> found.joints.tolist(), found.scores.tolist()
    ([[[4.25, 3.0]]], [[1.0]])
  """
  choose("method", method, METHODS)
  height, width, count = heatmaps.shape[-3:]
  maps = heatmaps.astype(jnp.float32).reshape(-1, height, width, count)
  place, scores = _peaks(maps)
  found = place.astype(jnp.float32)
  if method == "quarter":
    found = found + _quarter(maps, place)
  elif method in ("dark", "udp"):
    spread = 2 if method == "dark" else 1
    found = found + _taylor(_smoothed(maps, place, sigma, spread), place, (height, width))
  found = jnp.where(scores[..., None] > 0, found, 0.0)
  leading = heatmaps.shape[:-3]
  return Decoded(found.reshape(*leading, count, 2), scores.reshape(*leading, count))


def to_input(joints: jax.Array, *, stride: float | tuple[float, float]) -> jax.Array:
  """Returns keypoints in pixels of the network's input: places of the map times the stride, [..., 2]."""
  return joints * jnp.asarray(stride, jnp.float32)


def check_joints(joints: jax.Array, visible: jax.Array) -> None:
  """Refuses joints that are not [..., K, 2] with visibilities [..., K].

  Raises:
    ValueError: they are not.
  """
  if joints.ndim < 2 or joints.shape[-1] != 2 or joints.shape[:-1] != visible.shape:
    raise ValueError(
      f"joints are [..., keypoints, 2] and visibilities [..., keypoints]; they are {joints.shape} and"
      f" {visible.shape}"
    )


def _peaks(maps: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The first maxima of maps [n, h, w, K]: (x and y, int [n, K, 2]; values [n, K]).

  First the row, then the place in it: plain maxima, which are fast. An argmax over all places takes twenty
  times as long on the CPU.
  """
  of_rows = jnp.max(maps, axis=2)
  row = _first(of_rows)
  column = _first(jnp.take_along_axis(maps, row[:, None, None], axis=1)[:, 0])
  return jnp.stack([column, row], axis=-1), jnp.max(of_rows, axis=1)


def _first(x: jax.Array) -> jax.Array:
  """The first place of the maximum of x [n, places, K], int32 [n, K]."""
  places = jax.lax.broadcasted_iota(jnp.int32, x.shape, 1)
  found = jnp.min(jnp.where(x == jnp.max(x, axis=1, keepdims=True), places, x.shape[1]), axis=1)
  return jnp.minimum(found, x.shape[1] - 1)  # NaN is equal to nothing


def _taken(maps: jax.Array, at: jax.Array) -> jax.Array:
  """maps [n, h, w, K] at flat places [n, m, K] -> [n, m, K]."""
  n, height, width, count = maps.shape
  return jnp.take_along_axis(maps.reshape(n, height * width, count), at, axis=1)


def _around(maps: jax.Array, place: jax.Array, dx: int, dy: int) -> jax.Array:
  """Values at place + (dx, dy), clipped to the map: [n, K]; the caller masks what is beyond the border."""
  height, width = maps.shape[1:3]
  x, y = jnp.clip(place[..., 0] + dx, 0, width - 1), jnp.clip(place[..., 1] + dy, 0, height - 1)
  return _taken(maps, (y * width + x)[:, None])[:, 0]


def _quarter(maps: jax.Array, place: jax.Array) -> jax.Array:
  height, width = maps.shape[1:3]
  look = functools.partial(_around, maps, place)
  slope = jnp.stack([look(1, 0) - look(-1, 0), look(0, 1) - look(0, -1)], axis=-1)
  limits = jnp.array([width - 1, height - 1])
  inner = jnp.all((place > 1) & (place < limits), axis=-1, keepdims=True)  # both axes, or neither
  return jnp.where(inner, 0.25 * jnp.sign(slope), 0.0)


def _smoothed(maps: jax.Array, place: jax.Array, sigma: float, spread: int) -> jax.Array:
  """log of the smoothed maps around each place: [2 spread + 1, 2 spread + 1, n, K], rows first.

  Only these are smoothed, not the maps. (A factor that gives a smoothed map its maximum back, as DARK has it,
  changes no derivative of the logarithm.)
  """
  height, width = maps.shape[1:3]
  reach = max(1, math.ceil(2.5 * sigma))
  taps = np.exp(-np.square(np.arange(-reach, reach + 1)) / (2 * sigma**2))
  wanted, side = 2 * spread + 1, 2 * (spread + reach) + 1
  weights = np.zeros((wanted, side))
  for i in range(wanted):
    weights[i, i : i + len(taps)] = taps / taps.sum()
  around = jnp.arange(side) - side // 2
  x, y = (place[:, None, :, i] + around[:, None] for i in (0, 1))  # [n, side, K]
  inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None]
  flat = jnp.clip(y, 0, height - 1)[:, :, None] * width + jnp.clip(x, 0, width - 1)[:, None]
  n, count = place.shape[:2]
  patch = _taken(maps, flat.reshape(n, side * side, count)).reshape(n, side, side, count)
  patch = jnp.where(inside, patch, 0.0)
  w = jnp.asarray(weights, jnp.float32)
  smooth = jnp.einsum("ai,bj,nijk->abnk", w, w, patch, precision=jax.lax.Precision.HIGHEST)
  return jnp.log(jnp.maximum(smooth, 1e-10))


def _taylor(logs: jax.Array, place: jax.Array, size: tuple[int, int]) -> jax.Array:
  """-H^-1 g at each place, of central differences; 0 where they reach over the border or H is singular.

  logs are those of `_smoothed`: the second derivatives are taken over its `spread`.
  """
  s = logs.shape[0] // 2

  def look(dx: int, dy: int) -> jax.Array:
    return logs[s + dy, s + dx]

  middle = look(0, 0)
  gx, gy = 0.5 * (look(1, 0) - look(-1, 0)), 0.5 * (look(0, 1) - look(0, -1))
  xx = (look(s, 0) - 2 * middle + look(-s, 0)) / s**2
  yy = (look(0, s) - 2 * middle + look(0, -s)) / s**2
  xy = 0.25 * (look(1, 1) - look(-1, 1) - look(1, -1) + look(-1, -1))
  determinant = xx * yy - xy * xy
  sound = (jnp.abs(determinant) > 1e-12)[..., None]
  step = jnp.stack([xy * gy - yy * gx, xy * gx - xx * gy], axis=-1)
  step = step / jnp.where(sound, determinant[..., None], 1.0)
  limits = jnp.array(size[::-1]) - s
  inner = jnp.all((place >= s) & (place < limits), axis=-1, keepdims=True)
  return jnp.where(inner & sound, step, 0.0)
