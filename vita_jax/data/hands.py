"""Pictures of hands as rows: what a row has, checks that name what is wrong, mirroring and crops.

A row is a dict: `image` uint8 [H, W, 3]; `uv` float32 [21, 2], the joints in pixels (x, y) counted from the
centre of the upper left one; `xyz` float32 [21, 3] in mm before the camera (x right, y down, z forward);
`intrinsics` float32 [3, 3] with uv = K xyz / z; `depth` float32 [H, W] in mm; `mask` bool [H, W]; `right`
bool. Joints are in the order of `vita_jax.pose.skeletons.HAND`. `hands_files.py` reads rows from RHD's and
STB's folders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vita_jax.data.augment import resize
from vita_jax.pose.skeletons import HAND

SIDE, MARGIN = 256, 20.0  # pixels: of the paper's pictures, and of a frame around the joints
NEAREST, FARTHEST = 100.0, 5000.0  # mm from the camera that a hand may be; centimetres are below
SMALLEST = 0.05  # of a picture's side, that a hand in it may be
ENOUGH = 5  # estimated poses by which STB's order is told
LONGER = 1.2  # times the first bones of fingers: last ones that long are in truth the first
APART = 150.0  # mm that a depth map may be from the joints
MISSED = 0.05  # share of the hands that may lie beyond a depth map
TOGETHER = 0.9  # the least correlation of u with x / z, and of v with y / z
# For each joint of `HAND`: its number in the order of another data set.
RHD_ORDER = np.array([0, 4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17])
STB_ORDER = np.array([0, 17, 18, 19, 20, 13, 14, 15, 16, 9, 10, 11, 12, 5, 6, 7, 8, 1, 2, 3, 4])


def check_poses(uv: Any, z: Any, *, size: int, name: str = "the poses", beyond: float = 0.5) -> None:
  """Refuses poses that cannot guide anything: for what a user brings.

  Args:
    uv: [n, 21, 2] in pixels of pictures of `size`.
    z: [n, 21] in mm.
    size: side of the pictures.
    name: what to call them in a message, e.g. their file.
    beyond: sides of the picture by which a joint may lie outside of it.

  Raises:
    ValueError: no pose; another shape; a joint that is not a number, or far outside of the picture; all
      joints at one place, as shares of the picture are; depths in other units than mm.

  Examples:
    >>> check_poses(np.full((1, 21, 2), 30.0), np.full((1, 21), 0.5), size=64)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: the poses: the joints are 0.5 away in the median, and z is in mm from the camera: ...
  """
  uv, z = np.asarray(uv, np.float64), np.asarray(z, np.float64)
  count = HAND.n_keypoints
  if uv.ndim != 3 or uv.shape[1:] != (count, 2) or z.shape != uv.shape[:2]:
    raise ValueError(
      f"{name}: uv must be [n, {count}, 2] and z [n, {count}], they are {list(uv.shape)} and {list(z.shape)}"
    )
  if not len(uv):
    raise ValueError(f"{name}: there are no poses: give at least one")
  _check_finite(np.concatenate([uv, z[..., None]], axis=-1), name)
  _check_unit(z, name)
  wide = np.ptp(uv, axis=1).max(axis=-1)
  if (wide < SMALLEST * size).any():
    raise ValueError(
      f"{name}: all joints of row {int(np.argmin(wide))} are within {wide.min():.1f} of {size} pixels: give"
      " uv in pixels of the picture, not in shares of it"
    )
  away = np.maximum(np.maximum(-uv, uv - (size - 1)), 0).max(axis=-1)
  if (away > beyond * size).any():
    row, joint = np.unravel_index(int(np.argmax(away)), away.shape)
    place = np.round(uv[row, joint], 1).tolist()
    raise ValueError(
      f"{name}: {HAND.names[joint]} of row {row} is at {place}, far outside of a picture of {size} x {size}:"
      " give uv in its pixels"
    )


def check_row(row: Mapping[str, Any], *, name: str) -> None:
  """Refuses a row whose parts contradict one another.

  Args:
    row: see this module.
    name: what to call it in a message, e.g. its file.

  Raises:
    ValueError: a joint that is not a number; joints in another order; lengths in other units than mm; uv that
      are not K xyz / z, as rows and columns swapped are not; a depth map in other units.
  """
  uv, xyz = np.asarray(row["uv"], np.float64), np.asarray(row["xyz"], np.float64)
  _check_finite(np.concatenate([uv, xyz], axis=-1)[None], name)
  _check_unit(xyz[None, :, 2], name)
  if (order := order_of(xyz)) != "HAND":
    raise ValueError(f"{name}: its joints are in the order of {order}: take joints[data.hands.{order}]")
  seen = xyz @ np.asarray(row["intrinsics"], np.float64).T
  off = float(np.median(np.linalg.norm(seen[:, :2] / seen[:, 2:] - uv, axis=-1)))
  if off > 2:
    raise ValueError(
      f"{name}: uv are {off:.1f} pixels from the projections of xyz: give (x, y), not (row, column), and the"
      " intrinsics of these pixels"
    )
  if row.get("depth") is not None:
    check_depths(row["depth"][None], uv[None], xyz[None, :, 2], name=name)


def check_depths(depth: Any, uv: Any, z: Any, *, name: str) -> None:
  """Refuses depth maps that are not those of the joints, e.g. in metres.

  Args:
    depth: [n, h, w] in mm, 0 where it is unknown.
    uv: [n, 21, 2] in its pixels.
    z: [n, 21] in mm.
    name: what to call them in a message, e.g. their file.

  Raises:
    ValueError: in the median they are more than 150 mm from the joints.
  """
  depth = np.asarray(depth, np.float64)
  x, y = np.moveaxis(np.clip(np.round(uv).astype(int), 0, np.array(depth.shape[:0:-1]) - 1), -1, 0)
  seen = depth[np.arange(len(depth))[:, None], y, x]
  apart = float(np.median(np.abs(seen - z)[seen > 0])) if (seen > 0).any() else 0.0
  if apart > APART:
    raise ValueError(
      f"{name}: its depth map is {apart:.0f} mm from the joints in the median: give it in mm, of the same"
      " camera"
    )


def check_within(z: Any, far: float, *, name: str, remedy: str) -> None:
  """Refuses hands beyond the far end of a depth map, in which nothing would be seen of them.

  Args:
    z: [n, 21] in mm.
    far: mm.
    name: what to call them in a message, e.g. their file.
    remedy: what to do, for the message.

  Raises:
    ValueError: of more than 5 % of the hands half of the joints are beyond.
  """
  share = float((np.median(np.asarray(z), axis=-1) >= far).mean())
  if share > MISSED:
    raise ValueError(
      f"{name}: {100 * share:.0f} % of the hands are {far:.0f} mm away or more, where depth maps show"
      f" nothing: {remedy}"
    )


def order_of(xyz: Any) -> str:
  """Tells the order of joints [21, 3] by the lengths of the bones: "HAND", "RHD_ORDER" or "STB_ORDER".

  Bones keep their length in every pose, and get shorter from the palm to the tip. In RHD's order a finger
  begins with its tip: the bones of four fingers get longer, by a fifth at least, or edges from the wrist are
  longer than in the order of `HAND`, too. (Those alone do not tell: in a fist tips are nearer than knuckles.)
  In STB's the little finger comes first and the thumb last, which is a longer chain, from the palm on.
  """
  xyz = np.asarray(xyz, np.float64)
  bones = np.linalg.norm(np.diff(xyz[1:].reshape(5, 4, 3), axis=1), axis=-1)  # [finger, from the first joint]
  first, *_, last = bones[1:].sum(axis=0)
  if last > LONGER * first or (last > first and _edges(xyz[RHD_ORDER]) < _edges(xyz)):
    return "RHD_ORDER"
  chains = bones.sum(axis=1)
  return "STB_ORDER" if chains[0] < chains[-1] else "HAND"


def check_order(xyz: Any, *, name: str, share: float = 0.0) -> None:
  """Refuses poses [n, 21, 3] that mostly have the joints of another data set's order, see `order_of`.

  Args:
    xyz: equal poses count once.
    name: what to call them in a message, e.g. their file.
    share: above 0 for poses that are only estimated: so many of them, and of `ENOUGH` at least, must look
      like STB's: some in the right order do so, while hardly one looks like RHD's.

  Raises:
    ValueError: the most frequent order is another data set's.
  """
  orders = [order_of(pose) for pose in np.unique(xyz, axis=0)]
  usual = max(("HAND", "RHD_ORDER", "STB_ORDER"), key=orders.count)
  many = orders.count(usual) > share * len(orders) and (not share or len(orders) >= ENOUGH)
  if usual == "RHD_ORDER" or (usual == "STB_ORDER" and many):
    raise ValueError(f"{name}: its joints are in the order of {usual}: take joints[data.hands.{usual}]")


def _edges(xyz: np.ndarray) -> float:
  ends = np.array(HAND.limbs)
  return float(np.linalg.norm(xyz[ends[:, 1]] - xyz[ends[:, 0]], axis=-1).sum())


def check_projection(uv: Any, xyz: Any, *, name: str = "the poses") -> None:
  """Refuses pixels that are not those of their points before any camera: swapped, or mirrored alone.

  Of each pose u must rise with x / z and v with y / z, whatever the intrinsics are; the median over poses
  decides.

  Args:
    uv: [n, 21, 2] in pixels.
    xyz: [n, 21, 3] before the camera, in any unit.
    name: what to call them in a message, e.g. their file.

  Raises:
    ValueError: they do not rise together, or a joint that is not a number.
  """
  uv, xyz = np.asarray(uv, np.float64), np.asarray(xyz, np.float64)
  _check_finite(np.concatenate([uv, xyz], axis=-1), name)
  a, b = (x - x.mean(axis=1, keepdims=True) for x in (uv, xyz[..., :2] / xyz[..., 2:]))
  squares = np.square(a).sum(axis=1) * np.square(b).sum(axis=1)
  middle = np.median((a * b).sum(axis=1) / np.sqrt(np.maximum(squares, 1e-300)), axis=0)
  for value, ours, theirs in zip(middle, "uv", "xy", strict=True):
    if value < TOGETHER:
      raise ValueError(
        f"{name}: {ours} does not follow {theirs} / z, their correlation is {value:.2f}: give uv as (x, y),"
        " not (row, column), xyz before the same camera, and mirror both or neither"
      )


def _check_finite(joints: np.ndarray, name: str) -> None:
  bad = ~np.isfinite(joints).all(axis=-1)
  if bad.any():
    row, joint = np.unravel_index(int(np.argmax(bad)), bad.shape)
    found = joints[row, joint].tolist()
    raise ValueError(f"{name}: {HAND.names[joint]} of row {row} is not finite, {found}: leave the row out")


def _check_unit(z: np.ndarray, name: str) -> None:
  middle = float(np.median(z))
  if middle > FARTHEST:
    raise ValueError(
      f"{name}: the joints are {middle:.4g} away in the median, more than {FARTHEST:.0f}: give z in mm"
    )
  if middle < NEAREST:
    raise ValueError(
      f"{name}: the joints are {middle:.4g} away in the median, and z is in mm from the camera:"
      " multiply metres by 1000, add the wrist's to depths from the wrist"
    )


def check_one_side(right: Any, *, name: str) -> None:
  """Refuses left and right hands side by side.

  Args:
    right: bool [n].
    name: of the rows, for the message.

  Raises:
    ValueError: there are both.
  """
  right = np.asarray(right, bool)
  if right.any() and not right.all():
    raise ValueError(
      f"{name}: {int(right.sum())} right and {int((~right).sum())} left hands: mirror the right ones"
      " (data.hands.mirrored), or take one side"
    )


def mirrored(row: Mapping[str, Any]) -> dict[str, Any]:
  """Mirrors a row: picture, depth and mask, u -> W - 1 - u, x -> -x, the intrinsics, and the hand's side."""
  last = row["image"].shape[1] - 1
  turn = np.array([[-1, 0, last], [0, 1, 0], [0, 0, 1]], np.float32)  # of pixels
  flip = np.diag([-1, 1, 1]).astype(np.float32)
  found = dict(row)
  for key in ("image", "depth", "mask"):
    if key in row:
      found[key] = row[key][:, ::-1]
  found["uv"] = (row["uv"] * np.array([-1, 1]) + np.array([last, 0])).astype(np.float32)
  found["xyz"] = row["xyz"] @ flip
  found["intrinsics"] = turn @ row["intrinsics"] @ flip
  found["right"] = np.asarray(not row["right"])
  return found


class HandCrop(NamedTuple):
  """A transform of rows for a `Stream`: the box of the joints, resized to a square; nothing is random.

  The box is `margin` pixels wider than the joints on each side and cut at the picture; its aspect is not
  kept. The picture is resized bilinearly, depth and mask by their nearest place: mm are never mixed.

  Attributes:
    size: side of the crop.
    margin: None: the whole picture.
    left: whether right hands are mirrored into left ones first.
  """

  size: int
  margin: float | None = MARGIN
  left: bool = True

  def __call__(self, row: Mapping[str, Any], rng: Any = None) -> dict[str, Any]:
    found = mirrored(row) if self.left and row["right"] else dict(row)
    height, width = found["image"].shape[:2]
    low, high = np.zeros(2, int), np.array([width, height])
    if self.margin is not None:
      low = np.maximum(np.floor(found["uv"].min(axis=0) - self.margin).astype(int), 0)
      high = np.minimum(np.ceil(found["uv"].max(axis=0) + self.margin).astype(int) + 1, high)
    if (high - low < 2).any():
      raise ValueError("the joints of a row lie outside of its picture: leave the row out")
    window, size = (slice(low[1], high[1]), slice(low[0], high[0])), (self.size, self.size)
    found["image"] = resize(np.ascontiguousarray(found["image"][window]), size=size, method="bilinear")
    for key in ("depth", "mask"):
      if key in found:
        rows, columns = (nearest_places(n, self.size) for n in found[key][window].shape)
        found[key] = found[key][window][rows[:, None], columns]
    # Edges of pixels go to edges of pixels: centres, from which uv count, lie half a pixel further in.
    scale = self.size / (high - low)
    move = np.array(
      [[scale[0], 0, (0.5 - low[0]) * scale[0] - 0.5], [0, scale[1], (0.5 - low[1]) * scale[1] - 0.5]]
    )
    found["uv"] = (found["uv"] @ move[:, :2].T + move[:, 2]).astype(np.float32)
    found["intrinsics"] = (np.concatenate([move, [[0, 0, 1]]]) @ found["intrinsics"]).astype(np.float32)
    return found


def nearest_places(length: int, size: int) -> np.ndarray:
  """Returns for each of `size` places the one of `length` places whose area holds its centre."""
  return np.minimum(((np.arange(size) + 0.5) * length / size).astype(int), length - 1)


def decode_depth(high: np.ndarray, low: np.ndarray) -> np.ndarray:
  """Computes 256 high + low of the two bytes of a depth, int32; before resizing, which would mix bytes."""
  return 256 * high.astype(np.int32) + low.astype(np.int32)


def split_sequences(names: Sequence[str], test: Sequence[str], *, name: str) -> tuple[np.ndarray, np.ndarray]:
  """Splits rows by their video: (rows that train, rows that test), int arrays.

  Frames of one video are nearly the same picture: a split by frame would test what was trained.

  Args:
    names: of the video of each row.
    test: videos that are held out.
    name: of the data, for messages.

  Raises:
    ValueError: a video that is not there; one video only; nothing left to train.

  Examples:
    >>> split_sequences(["B1", "B1", "B2"], ["B1"], name="a folder")
    (array([2]), array([0, 1]))
  """
  there = sorted(set(names))
  if len(there) < 2:
    raise ValueError(
      f"{name} has one video only, {there[0] if there else 'none'}: a split by video needs two"
    )
  if gone := sorted(set(test) - set(there)):
    raise ValueError(f"{name} has no video '{gone[0]}': it has {', '.join(there)}")
  held = np.isin(np.array(names), np.array(test))
  if held.all() or not held.any():
    raise ValueError(f"{name}: hold out some of {', '.join(there)}, and not all of them")
  return np.flatnonzero(~held), np.flatnonzero(held)
