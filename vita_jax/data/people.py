"""Persons with keypoints in pictures of any size, and as rows of a `Stream`.

`people_files` lists persons of COCO's and MPII's files without decoding a picture; `PersonRows` reads them as
rows of a `Stream`, whose transform is `vita_jax.pose.augment.CropPerson`; `WideCrops` gives rows of one size,
which fit into TFDS files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vita_jax.data.files_image import read_image
from vita_jax.pose.crops import apply_matrix, crop_matrix, warp
from vita_jax.pose.evaluate import AREA
from vita_jax.pose.skeletons import Skeleton


class People(NamedTuple):
  """Persons, one row each.

  Attributes:
    files: the picture of each person.
    image_ids: int64 [n].
    ids: int64 [n], of the annotation; 0 for detections.
    joints: float32 [n, K, 2] in pixels of the picture, from 0 on.
    visible: float32 [n, K]: 0 is not labelled, 1 labelled but hidden, 2 visible (MPII: 0 or 1).
    boxes: float32 [n, 4] of x, y, w, h.
    areas: float32 [n] in square pixels, for OKS.
    centre: float32 [n, 2], see `vita_jax.pose.crops.centre_and_scale`.
    scale: float32 [n, 2].
    scores: float32 [n] of the boxes; 1 where they are annotated.
    skeleton: of the keypoints.
    left_out: rule -> how many persons.
  """

  files: tuple[str, ...]
  image_ids: np.ndarray
  ids: np.ndarray
  joints: np.ndarray
  visible: np.ndarray
  boxes: np.ndarray
  areas: np.ndarray
  centre: np.ndarray
  scale: np.ndarray
  scores: np.ndarray
  skeleton: Skeleton
  left_out: Mapping[str, int]

  def only(self, rows: Sequence[int] | np.ndarray) -> People:
    """Returns these rows alone."""
    rows = np.asarray(rows, np.int64)
    parts = {name: getattr(self, name)[rows] for name in _ARRAYS}
    return self._replace(files=tuple(self.files[i] for i in rows), **parts)


_ARRAYS = ("image_ids", "ids", "joints", "visible", "boxes", "areas", "centre", "scale", "scores")


def extent_boxes(joints: np.ndarray, visible: np.ndarray, *, margin: Any = 0.0) -> np.ndarray:
  """Returns boxes [n, 4] of x, y, w, h around labelled keypoints [n, K, 2], `margin` pixels wider."""
  seen = (np.asarray(visible) > 0)[..., None]
  low = np.min(np.where(seen, joints, np.inf), axis=1) - np.asarray(margin)[..., None]
  high = np.max(np.where(seen, joints, -np.inf), axis=1) + np.asarray(margin)[..., None]
  return np.concatenate([low, high - low], axis=-1)


def extent_areas(joints: np.ndarray, visible: np.ndarray) -> np.ndarray:
  """Returns 0.53 of the areas of `extent_boxes`, for OKS where no area is known; at least 1."""
  return np.maximum(AREA * np.prod(extent_boxes(joints, visible)[:, 2:], axis=-1), 1.0)


class PersonRows:
  """Persons as rows of a `Stream`: the whole picture with one person's keypoints, centre and scale.

  A row has `image` uint8 [H, W, 3], `joints`, `visible`, `area`, `centre`, `scale`, `score`, and `person`,
  its number in `people`. The transform `CropPerson` makes the crops of one size.

      people = read_coco("person_keypoints_train2017.json", "train2017", crop=crop)
      data = Stream(PersonRows(people), 32, transform=CropPerson(crop, people.skeleton, COCO_AUGMENTATION))
  """

  def __init__(self, people: People):
    """Takes the persons; nothing is decoded.

    Raises:
      ValueError: nobody.
    """
    if not people.files:
      raise ValueError(f"there is nobody to train on: all persons were left out, {dict(people.left_out)}")
    self.people = people

  def __len__(self) -> int:
    return len(self.people.files)

  def __getitem__(self, i: int) -> dict[str, np.ndarray]:
    """Row i; ValueError names a picture that cannot be decoded."""
    p = self.people
    return {
      "image": read_image(p.files[i]),
      "joints": p.joints[i],
      "visible": p.visible[i],
      "area": p.areas[i],
      "centre": p.centre[i],
      "scale": p.scale[i],
      "score": p.scores[i],
      "person": np.int32(i),
    }


class WideCrops:
  """Rows of `PersonRows` with the neighbourhood of the person in place of the picture: all of one size.

  So they can be written as TFDS data (`tfds_files.write_rows`), and be read, cropped and augmented as whole
  pictures are. `joints`, `area`, `centre` and `scale` are in pixels of the neighbourhood.

  Attributes:
    rows: of whole pictures.
    side: of the square neighbourhood, in pixels.
    reach: how many times the longer side of the padded box it shows: 2 leaves room for most augmentation.
  """

  def __init__(self, rows: PersonRows, *, side: int = 512, reach: float = 2.0):
    self.rows, self.side, self.reach = rows, side, reach

  def __len__(self) -> int:
    return len(self.rows)

  def __getitem__(self, i: int) -> dict[str, np.ndarray]:
    """Row i."""
    row = self.rows[i]
    whole = np.repeat(row["scale"].max(), 2) * self.reach
    size = (self.side, self.side)
    matrix = crop_matrix(row["centre"].astype(np.float64), whole, size=size, convention="udp")
    ratio = float(matrix[0, 0])
    return {
      **row,
      "image": warp(row["image"], matrix, size=size),
      "joints": apply_matrix(matrix, row["joints"]).astype(np.float32),
      "area": np.float32(row["area"] * ratio**2),
      "centre": apply_matrix(matrix, row["centre"][None])[0].astype(np.float32),
      "scale": (row["scale"] * ratio).astype(np.float32),
    }
