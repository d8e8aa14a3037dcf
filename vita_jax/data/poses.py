"""`load_poses(name)`: labelled poses as arrays for the device; `load_people(name)`: in whole pictures.

    name           what                                                     files
    figures        generated, any number                                    none
    pedestrians    355 crops of one street camera, pseudo-labels            $VITA_DATA_DIR
    mouse          116 frames of a mouse from above, 4 keypoints            $VITA_DATA_DIR
    coco, mpii     12 and 5 persons in real pictures: to try the pipeline   $VITA_DATA_DIR

COCO, MPII and data of one's own at full size are files and folders: `people_files.read_coco` and `read_mpii`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vita_jax.base.choose import choose
from vita_jax.data import people_files, sources
from vita_jax.data.figures import figures
from vita_jax.data.openfield import load_mouse
from vita_jax.data.pedestrians import load_pedestrians
from vita_jax.data.people import People, PersonRows, extent_boxes
from vita_jax.data.photographs import split_names
from vita_jax.pose.augment import CropPerson
from vita_jax.pose.crops import Crop
from vita_jax.pose.evaluate import torso_lengths
from vita_jax.pose.skeletons import COCO, FIGURES, OPENFIELD, Skeleton

NAMES = ("figures", "pedestrians", "mouse", "coco", "mpii")
PICTURES = ("coco", "mpii")  # of any size: for `load_people`


class Poses(NamedTuple):
  """Crops with keypoints, as columns for a `Resident`.

  Attributes:
    train: {"image" uint8 [n, h, w, 3], "joints" float32 [n, K, 2] in pixels of the crop, "visible" float32
      [n, K], "box" float32 [n, 4], "area" float32 [n] for OKS, "length" float32 [n] for PCK; 0: unknown}.
      Some have more: `pedestrians.load_pedestrians`, `crops_of`.
    test: the same.
    skeleton: of the keypoints.
    length: what PCK is measured in, for tables.
    source: where they come from, for tables.
  """

  train: dict[str, np.ndarray]
  test: dict[str, np.ndarray]
  skeleton: Skeleton
  length: str
  source: str


def load_poses(
  name: str, *, size: tuple[int, int] | None = None, count: tuple[int, int] = (4000, 400), seed: int = 0
) -> Poses:
  """Loads the poses of a name.

  Args:
    name: one of `NAMES`. Those of "coco" and "mpii" are too few to learn from: train and test are the same.
    size: (height, width) of the crops; None: (64, 64), for "mouse" (128, 64), for "coco" (128, 96), for
      "mpii" (128, 128).
    count: training and test rows of "figures".
    seed: of the training figures; the test figures are always the same.

  Raises:
    ValueError: an unknown name, or a size that these data do not have.
    FileNotFoundError: the files are not under $VITA_DATA_DIR.

  Examples:
    >>> poses = load_poses("figures", count=(3, 2), size=(32, 32))
    >>> poses.train["image"].shape, poses.skeleton.n_keypoints
    ((3, 32, 32, 3), 17)
  """
  choose("poses", name, NAMES)
  height, width = size or {"mouse": (128, 64), "coco": (128, 96), "mpii": (128, 128)}.get(name, (64, 64))
  if name in ("figures", "pedestrians") and height != width:
    raise ValueError(f"size is {height} x {width}: {name} are squares")
  if name == "figures":
    train, test = (figures(n, size=height, seed=s) for n, s in zip(count, (seed + 1, 0), strict=True))
    return Poses(train, test, FIGURES, "an eighth of the height", "generated")
  if name == "pedestrians":
    train, test = load_pedestrians(size=height)
    return Poses(train, test, COCO, "torso", "355 pedestrians of one camera, labels of BlazePose")
  if name == "mouse":
    if (height, width) != (128, 64):
      raise ValueError(f"size is {height} x {width}: the frames of the mouse are 128 x 64")
    train, test = load_mouse()
    return Poses(train, test, OPENFIELD, "snout to tail base", "116 frames of one mouse")
  crop = Crop((height, width))
  found = load_people(name, crop=crop)
  rows = crops_of(found, crop)
  return Poses(rows, rows, found.skeleton, "torso", f"{len(found.files)} persons of {name}")


def load_people(name: str, *, crop: Crop, detected: bool = False) -> People:
  """Loads the persons of the small files of "coco" or "mpii" in their pictures.

  Args:
    name: one of `PICTURES`.
    crop: whose aspect the boxes are made to.
    detected: the boxes of a detector in place of the annotated ones; "coco" alone has them.

  Raises:
    ValueError: an unknown name, or detections that are not there.
    FileNotFoundError: the files are not under $VITA_DATA_DIR.
  """
  choose("people", name, PICTURES)
  if detected and name != "coco":
    raise ValueError(f"'{name}' has no boxes of a detector: coco has")
  files = sources.source_files(f"pose/{name}")
  if files is None:
    raise FileNotFoundError(
      f"no people '{name}': there is {sources.missing(f'pose/{name}')}; put pose/{name} there"
    )
  path = files[f"pose/{name}/test_{name}.json"]
  if name == "mpii":
    return people_files.read_mpii(path, path.parent, crop=crop)
  boxes = files["pose/coco/test_coco_det_AP_H_56.json"] if detected else None
  return people_files.read_coco(path, path.parent, crop=crop, detections=boxes)


def crops_of(people: People, crop: Crop) -> dict[str, np.ndarray]:
  """Cuts out the crops of all persons, as columns for a `Resident`: for a few hundred persons.

  Returns:
    The columns of `Poses.train`, and "centre" [n, 2], "scale" [n, 2], with which `pose.to_picture` goes back,
    "score" [n] of the boxes, "person" int32 [n], the row in `people`, and "picture" int64 [n], its image id.

  Raises:
    ValueError: nobody.
  """
  rows, transform = PersonRows(people), CropPerson(crop, people.skeleton)
  found: list[dict[str, Any]] = [transform(rows[i]) for i in range(len(rows))]
  columns = {name: np.stack([np.asarray(row[name]) for row in found]) for name in found[0]}
  ratio = crop.size[1] / (200.0 * columns["scale"][:, 0])
  labelled = np.asarray((columns["visible"] > 0).any(axis=1))
  boxes = np.where(
    labelled[:, None], extent_boxes(columns["joints"], columns["visible"] + ~labelled[:, None]), 0
  )
  length = (
    torso_lengths(columns["joints"], columns["visible"], people.skeleton)
    if all(people.skeleton.torso)
    else boxes[:, 2:].max(axis=-1)
  )
  columns["area"] = (columns["area"] * ratio**2).astype(np.float32)
  columns |= {"box": boxes.astype(np.float32), "length": length.astype(np.float32)}
  return {**columns, "picture": people.image_ids}


def split_people(people: People, *, held_out: int, seed: int = 0) -> tuple[People, People]:
  """Splits persons by picture, nobody of one picture on both sides: (the rest, those of `held_out` pictures).

  Raises:
    ValueError: nothing would be left to train, or to hold out.
  """
  names = tuple(dict.fromkeys(people.files))
  _, test = split_names(names, held_out=held_out, seed=seed)
  on_test = np.isin(np.array(people.files), np.array(test))
  return people.only(np.flatnonzero(~on_test)), people.only(np.flatnonzero(on_test))
