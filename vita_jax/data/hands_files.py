"""Two public sets of hand pictures in their folders, as rows for a `Stream`, and renderings in such folders.

RHD (rendered; Zimmermann and Brox, ICCV 2017): `<root>/{training,evaluation}/{color,depth,mask}/00000.png`,
and the labels of all frames. They come as a pickle, which can run code and is never read: convert it once to
`anno_<part>.npz` (`CONVERT`). STB (real; Zhang et al., 2016): `<root>/images/<video>/SK_{color,depth}_0.png`
and `<root>/labels/<video>_SK.mat`. Neither may be shipped; nothing is downloaded.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vita_jax.base.choose import choose
from vita_jax.base.files import write_npz
from vita_jax.data.files import cause, existing, read_npz
from vita_jax.data.files_image import read_image
from vita_jax.data.hands import RHD_ORDER, STB_ORDER, check_row, decode_depth
from vita_jax.pose.skeletons import HAND

PARTS = ("training", "evaluation")
RHD_RANGE = 5000.0  # mm that 65,535 stands for
RHD_LEFT, RHD_RIGHT = (2, 17), (18, 33)  # the least and the most label of a hand in a mask
CONVERT = (
  "python -c \"import numpy, pickle; a = pickle.load(open('anno_{part}.pickle', 'rb'), encoding='latin1');"
  " k = sorted(a); numpy.savez('anno_{part}.npz', **{{n: numpy.stack([a[i][n] for i in k]) for n in"
  " ('uv_vis', 'xyz', 'K')}})\""
)
# STB's colour camera: intrinsics, and the turn (axis times angle) and shift in mm from its depth camera.
STB_COLOUR = np.array([[607.92271, 0, 314.78337], [0, 607.88192, 236.42484], [0, 0, 1]])
STB_TURN = -np.array([0.00531, -0.01196, 0.00301])
STB_SHIFT = -np.array([-24.0381, -0.4563, -1.2326])
STB_DEPTH = np.array([[475.62768, 0, 336.41179], [0, 474.77709, 238.77962], [0, 0, 1]])
EMPTY = 0.0  # mm: a place that no depth is known of


class Rhd:
  """The hands of one part of RHD: a row for each hand whose 21 joints are all visible.

  Attributes:
    root: the folder of the part.
    hands: (frame, whether it is the right hand) of each row.
    arrays: the labels, and whatever else the npz file has.
  """

  def __init__(self, root: str | os.PathLike, part: str = "training"):
    """Reads the labels; pictures are read with their rows.

    Raises:
      FileNotFoundError: no folder, or no labels.
      ValueError: an unknown part, labels of another shape, or no visible hand.
    """
    self.root = Path(root).expanduser() / choose("part", part, PARTS)
    labels = self.root / f"anno_{part}.npz"
    if not labels.is_file():
      if labels.with_suffix(".pickle").is_file():
        raise ValueError(
          f"{labels.with_suffix('.pickle')} is a pickle, which can run code and is never read; where you"
          f" trust it, in {self.root}: {CONVERT.format(part=part)}"
        )
      raise FileNotFoundError(f"no {labels}: give RHD's folder, which has training/ and evaluation/")
    self.arrays = read_npz(labels)
    for key, shape in {"uv_vis": (42, 3), "xyz": (42, 3), "K": (3, 3)}.items():
      if key not in self.arrays or self.arrays[key].shape[1:] != shape:
        raise ValueError(f"{labels} must have an array '{key}' [n, {shape[0]}, {shape[1]}]")
    seen = self.arrays["uv_vis"][..., 2].reshape(-1, 2, HAND.n_keypoints).astype(bool).all(axis=-1)
    self.hands = [(int(i), bool(side)) for i, side in np.argwhere(seen)]
    if not self.hands:
      raise ValueError(f"{labels} has no hand all of whose joints are visible")

  def __len__(self) -> int:
    return len(self.hands)

  def __getitem__(self, i: int) -> dict[str, Any]:
    """Row i, see `vita_jax.data.hands`.

    Raises:
      FileNotFoundError: a picture is missing.
      ValueError: one that cannot be read, or a row that `check_row` refuses.
    """
    frame, right = self.hands[i]
    name = f"{frame:05d}.png"
    image = read_image(self.root / "color" / name)
    pair = read_image(self.root / "depth" / name)  # two bytes in red and green
    labels = read_image(self.root / "mask" / name, mode="L")[..., 0]
    low, high = RHD_RIGHT if right else RHD_LEFT
    joints = slice(21, 42) if right else slice(0, 21)
    row = {
      "image": image,
      "depth": (decode_depth(pair[..., 0], pair[..., 1]) * (RHD_RANGE / 65535)).astype(np.float32),
      "mask": (labels >= low) & (labels <= high),
      "uv": self.arrays["uv_vis"][frame, joints, :2][RHD_ORDER].astype(np.float32),
      "xyz": (1000 * self.arrays["xyz"][frame, joints][RHD_ORDER]).astype(np.float32),
      "intrinsics": self.arrays["K"][frame].astype(np.float32),
      "right": np.asarray(right),
    }
    check_row(row, name=str(self.root / "color" / name))
    if not row["mask"].any():
      raise ValueError(
        f"{self.root / 'mask' / name} does not show the hand that the labels have: leave it out"
      )
    return row

  def shown(self) -> Rhd:
    """Returns the rows whose mask is not empty (it reads every mask)."""
    kept = []
    for frame, right in self.hands:
      labels = read_image(self.root / "mask" / f"{frame:05d}.png", mode="L")
      low, high = RHD_RIGHT if right else RHD_LEFT
      if ((labels >= low) & (labels <= high)).any():
        kept.append((frame, right))
    part = copy.copy(self)
    part.hands = kept
    return part


def write_rhd(
  root: str | os.PathLike,
  rows: Sequence[Mapping[str, Any]] | Any,
  *,
  part: str = "training",
  more: Mapping[str, Any] | None = None,
) -> Path:
  """Writes rows in RHD's layout; `Rhd` reads them back, depth within 0.04 mm.

  Args:
    root: the folder, which is made.
    rows: see `vita_jax.data.hands`; has a length and `rows[i]`.
    part: one of `PARTS`.
    more: further arrays [n, ...] for the file of labels, e.g. the identity.

  Returns:
    The folder of the part.

  Raises:
    ValueError: an unknown part, or depths that two bytes cannot hold.
  """
  from PIL import Image

  folder = Path(root).expanduser() / choose("part", part, PARTS)
  for kind in ("color", "depth", "mask"):
    (folder / kind).mkdir(parents=True, exist_ok=True)
  n = len(rows)
  uv_vis, xyz, intrinsics = np.zeros((n, 42, 3)), np.zeros((n, 42, 3)), np.zeros((n, 3, 3))
  for i in range(n):
    row = rows[i]
    if row["depth"].min() < 0 or row["depth"].max() > RHD_RANGE:
      raise ValueError(
        f"row {i} has a depth of {row['depth'].max():.0f} mm: two bytes hold 0 to {RHD_RANGE:.0f}"
      )
    code = np.round(row["depth"] * (65535 / RHD_RANGE)).astype(np.int64)
    pair = np.stack([code >> 8, code & 255, np.zeros_like(code)], axis=-1).astype(np.uint8)
    label = np.uint8(RHD_RIGHT[1] if row["right"] else RHD_LEFT[1])  # the palm's
    pictures = {
      "color": row["image"],
      "depth": pair,
      "mask": np.where(row["mask"], label, 0).astype(np.uint8),
    }
    for kind, picture in pictures.items():
      Image.fromarray(picture).save(folder / kind / f"{i:05d}.png")
    joints = slice(21, 42) if row["right"] else slice(0, 21)
    uv_vis[i, joints, :2], uv_vis[i, joints, 2] = row["uv"][RHD_ORDER], 1  # the order is its own inverse
    xyz[i, joints], intrinsics[i] = row["xyz"][RHD_ORDER] / 1000, row["intrinsics"]
  write_npz(folder / f"anno_{part}.npz", {"uv_vis": uv_vis, "xyz": xyz, "K": intrinsics, **(more or {})})
  return folder


class Stb:
  """The frames of STB's colour camera: one left hand, whose joint 0 is the middle of the palm, not the wrist.

  Attributes:
    root: the folder.
    frames: (video, number of the frame) of each row.
    joints: video -> float64 [frames, 21, 3], mm before the depth camera, in the order of `HAND`.
  """

  def __init__(self, root: str | os.PathLike, *, videos: Sequence[str] | None = None):
    """Reads the labels; pictures are read with their rows.

    Args:
      root: the folder that has images/ and labels/.
      videos: e.g. "B1Counting"; None: all.

    Raises:
      FileNotFoundError: no labels.
      ValueError: labels of another shape, or a video that is not there.
    """
    self.root = Path(root).expanduser()
    found = sorted(path.name.removesuffix("_SK.mat") for path in (self.root / "labels").glob("*_SK.mat"))
    if not found:
      raise FileNotFoundError(
        f"no labels/*_SK.mat in {self.root}: give STB's folder, which has images/ and labels/"
      )
    for video in videos or ():
      choose("video", video, found)
    self.joints = {video: _stb_labels(self.root / "labels" / f"{video}_SK.mat") for video in videos or found}
    self.frames = [(video, i) for video, joints in self.joints.items() for i in range(len(joints))]

  def __len__(self) -> int:
    return len(self.frames)

  def videos(self) -> list[str]:
    """Returns the video of each row, for `split_sequences`."""
    return [video for video, _ in self.frames]

  def __getitem__(self, i: int) -> dict[str, Any]:
    """Row i, see `vita_jax.data.hands`, without mask; errors as those of `Rhd`."""
    video, frame = self.frames[i]
    folder = self.root / "images" / video
    image = read_image(folder / f"SK_color_{frame}.png")
    pair = read_image(folder / f"SK_depth_{frame}.png")
    uv, xyz = stb_project(self.joints[video][frame])
    depth = aligned_depth(decode_depth(pair[..., 1], pair[..., 0]), size=image.shape[:2])
    row = {
      "image": image,
      "depth": depth,
      "uv": uv.astype(np.float32),
      "xyz": xyz.astype(np.float32),
      "intrinsics": STB_COLOUR.astype(np.float32),
      "right": np.asarray(False),
    }
    check_row(
      {key: x for key, x in row.items() if key != "depth"}, name=str(folder / f"SK_color_{frame}.png")
    )
    return row


def stb_project(points: Any) -> tuple[np.ndarray, np.ndarray]:
  """Takes points [..., 3] before STB's depth camera to its colour camera: (uv [..., 2], xyz [..., 3]) in mm.

  Examples:
    >>> uv, xyz = stb_project(np.array([0.0, 0.0, 500.0]))
    >>> uv.round(3).tolist(), xyz.round(4).tolist()
    ([351.199, 240.187], [30.0219, 3.1022, 501.1898])
  """
  xyz = np.asarray(points, np.float64) @ _rotation(STB_TURN).T + STB_SHIFT
  seen = xyz @ STB_COLOUR.T
  return seen[..., :2] / seen[..., 2:], xyz


def aligned_depth(depth: np.ndarray, *, size: tuple[int, int]) -> np.ndarray:
  """Moves a picture of STB's depth camera to where the colour camera sees its points, the nearest one first.

  (The published code crops both pictures by their own boxes, so that they match roughly.)

  Args:
    depth: int or float [h, w] in mm, 0 where unknown.
    size: (height, width) of the colour picture.

  Returns:
    float32 [height, width] in mm before the colour camera; `EMPTY` where no point falls.
  """
  rows, columns = np.nonzero(depth > 0)
  z = depth[rows, columns].astype(np.float64)
  x, y = ((at - STB_DEPTH[i, 2]) / STB_DEPTH[i, i] * z for i, at in enumerate((columns, rows)))
  uv, xyz = stb_project(np.stack([x, y, z], axis=-1))
  column, row = np.round(uv).astype(int).T
  inside = (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
  found = np.full(size, np.inf)
  np.minimum.at(found, (row[inside], column[inside]), xyz[inside, 2])
  return np.where(np.isfinite(found), found, EMPTY).astype(np.float32)


def _stb_labels(path: Path) -> np.ndarray:
  from scipy.io import loadmat

  try:
    content = loadmat(existing(path), variable_names=["handPara"])
  except Exception as error:  # of damaged files scipy raises many types
    raise ValueError(f"{path} is not a readable .mat file ({cause(error)}): fetch it again") from error
  joints = content.get("handPara")
  if joints is None or joints.ndim != 3 or joints.shape[:2] != (3, HAND.n_keypoints):
    raise ValueError(f"{path} must have handPara [3, 21, frames], the joints in mm")
  return np.asarray(joints, np.float64).transpose(2, 1, 0)[:, STB_ORDER]


def _rotation(turn: np.ndarray) -> np.ndarray:
  """The matrix of axis times angle (Rodrigues)."""
  angle = float(np.linalg.norm(turn))
  x, y, z = turn / angle
  cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
  return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
