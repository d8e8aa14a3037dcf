"""Reading of persons with keypoints: files in COCO's format (any keypoints) and in MPII's.

No picture is decoded. What is left out, and counted: crowds, persons without a labelled keypoint, boxes of no
size or outside of the picture. What is refused, by name: another number of keypoints, unknown or missing
pictures, numbers that are no numbers.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vita_jax.base.choose import hint
from vita_jax.base.files import read_json
from vita_jax.data.people import People, extent_areas
from vita_jax.pose.crops import PIXELS, Crop, centre_and_scale, clip_boxes
from vita_jax.pose.evaluate import AREA
from vita_jax.pose.skeletons import MPII, Skeleton, of_category

LIMIT = 1 << 30  # bytes of a file of annotations: COCO's for 2017 have 240 MB
RULES = ("crowd", "no labelled keypoint", "box empty or outside of its picture")


def read_coco(
  annotations: str | os.PathLike | Mapping[str, Any],
  folder: str | os.PathLike,
  *,
  crop: Crop,
  skeleton: Skeleton | None = None,
  detections: str | os.PathLike | None = None,
) -> People:
  """Lists the persons of a file in COCO's keypoint format, of annotated boxes or of a detector's.

  Annotated boxes are clipped to the picture (`clip_boxes`), as the published protocol has it; those of a
  detector are not, but one of which nothing would be left is left out. They are made to the crop's aspect and
  padded.

  Args:
    annotations: the JSON file, or its content.
    folder: with the pictures.
    crop: whose aspect and padding the boxes are made to.
    skeleton: None: read from the file's category, see `of_category`.
    detections: a JSON list of {"image_id", "category_id", "bbox", "score"}; its persons have no labels.

  Raises:
    FileNotFoundError: no such file, or a picture that is missing.
    ValueError: a file that is not in this format; a row that does not fit, by its id.
  """
  named = "the annotations" if isinstance(annotations, Mapping) else str(annotations)
  content = (
    annotations
    if isinstance(annotations, Mapping)
    else read_json(annotations, what="a file in COCO's keypoint format", limit=LIMIT)
  )
  for key in ("images", "annotations", "categories"):
    if not isinstance(content.get(key), list):
      raise ValueError(
        f"{named} has no list '{key}'{hint(key, content)}: it is not in COCO's keypoint format"
      )
  category = _category(content["categories"], named)
  skeleton = of_category(category) if skeleton is None else skeleton
  _check_rows(content, ("images", "id"), ("annotations", "image_id"), ("categories", "id"), named=named)
  for i, image in enumerate(content["images"]):
    _number(image["id"], f"{named}: entry {i} of 'images', id")
  images = {int(image["id"]): image for image in content["images"]}
  for number, image in images.items():
    sizes = [_number(image.get(side, 0), f"{named}: image {number}, {side}") for side in ("width", "height")]
    if not (min(sizes) > 0 and image.get("file_name")):
      raise ValueError(f"{named}: image {number} has no size or no file: give width, height and file_name")
  if detections is None:
    rows, left_out = _annotated(content["annotations"], category, skeleton, images, named)
  else:
    rows, left_out = _detected(Path(detections), category, skeleton, images)
  kept, shapes = [], Counter(left_out)
  for row in rows:
    image = images[row["image_id"]]
    (box,), (sound,) = clip_boxes(np.array([row["bbox"]]), image["width"], image["height"])
    if sound:
      kept.append({**row, "bbox": box if detections is None else row["bbox"]})
    else:
      shapes[RULES[2]] += 1
  files = _files(Path(folder).expanduser(), [images[row["image_id"]]["file_name"] for row in kept], named)
  return _stacked(kept, files, skeleton, crop, {rule: shapes[rule] for rule in RULES if shapes[rule]})


def read_people(annotations: str | os.PathLike, folder: str | os.PathLike, *, crop: Crop) -> People:
  """Lists the persons of a file in COCO's format (a JSON object) or in MPII's (a list), by what it holds.

  Raises:
    FileNotFoundError: no such file, or a picture that is missing.
    ValueError: see `read_coco` and `read_mpii`.
  """
  path = Path(annotations).expanduser()
  if not path.is_file():
    raise FileNotFoundError(f"no file {path}: give annotations in COCO's or MPII's format")
  with path.open("rb") as file:
    start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
  return (read_mpii if start.startswith(b"[") else read_coco)(path, folder, crop=crop)


def read_mpii(annotations: str | os.PathLike, folder: str | os.PathLike, *, crop: Crop) -> People:
  """Lists the persons of MPII's annotations in JSON: `joints`, `joints_vis`, `center`, `scale`, `image`.

  The protocol's: center y grows by 15 scale, the scale by 1.25; coordinates lose 1, since they count from 1.
  The box is 200 scale (before it grows) on both sides of the center; there is no area: OKS takes 0.53 of the
  extent of the labelled keypoints. PCKh needs head boxes, which such a file does not have.

  Args:
    annotations: the JSON file, a list.
    folder: with the pictures.
    crop: its padding is taken in place of 1.25.

  Raises:
    FileNotFoundError: no such file, or a picture that is missing.
    ValueError: a file that is not in this format; a row that does not fit, by its number.
  """
  kept, left_out = [], 0
  for i, row in enumerate(_read_list(Path(annotations))):
    found = _mpii_person(row, f"{annotations}, row {i}")
    if (found.visible > 0).any():
      kept.append(found)
    else:
      left_out += 1
  if not kept:
    raise ValueError(f"{annotations} has no person with a labelled keypoint")
  files = _files(Path(folder).expanduser(), [one.image for one in kept], str(annotations))
  joints, visible, centre = (
    np.stack([getattr(one, name) for one in kept]) for name in ("joints", "visible", "centre")
  )
  side = np.array([[one.scale] * 2 for one in kept])
  boxes = np.concatenate([centre - PIXELS * side / 2, PIXELS * side], axis=1)
  names = {name: i for i, name in enumerate(dict.fromkeys(files))}
  return People(
    files,
    np.array([names[f] for f in files], np.int64),
    np.arange(1, len(kept) + 1),
    joints.astype(np.float32),
    visible.astype(np.float32),
    boxes.astype(np.float32),
    extent_areas(joints, visible).astype(np.float32),
    centre.astype(np.float32),
    (side * crop.padding).astype(np.float32),
    np.ones(len(kept), np.float32),
    MPII,
    {RULES[1]: left_out} if left_out else {},
  )


class _Person(NamedTuple):
  """A row of MPII's file, counted from 0, its centre moved."""

  image: str
  joints: np.ndarray
  visible: np.ndarray
  centre: np.ndarray
  scale: float


def _mpii_person(row: Any, where: str) -> _Person:
  if not isinstance(row, dict) or not {"joints", "joints_vis", "center", "scale", "image"} <= row.keys():
    raise ValueError(f"{where} has not joints, joints_vis, center, scale and image: it is not MPII's format")
  joints, seen, centre = (_numbers(row[k], f"{where}, {k}") for k in ("joints", "joints_vis", "center"))
  if joints.shape != (MPII.n_keypoints, 2) or seen.shape != (MPII.n_keypoints,):
    raise ValueError(f"{where} has joints {joints.shape}: MPII has {MPII.n_keypoints} keypoints of 2 numbers")
  finite = np.isfinite(joints[seen > 0]).all() and np.isfinite(centre).all()
  if centre.shape != (2,) or not finite or not np.isin(seen, (0, 1)).all():
    raise ValueError(f"{where}: center and labelled joints are x and y, joints_vis 0 or 1")
  if not (scale := _number(row["scale"], f"{where}, scale")) > 0:
    raise ValueError(f"{where} has scale {scale}: it must be above 0")
  centre = centre + [0, 15 * scale] - 1
  return _Person(str(row["image"]), joints - 1, seen, centre, scale)


def _category(categories: Sequence[Mapping[str, Any]], named: str) -> Mapping[str, Any]:
  """The one category that has keypoints."""
  found = [c for c in categories if c.get("keypoints")]
  if len(found) != 1:
    raise ValueError(f"{named} has {len(found)} categories with keypoints: there must be one; leave one in")
  return found[0]


def _annotated(
  rows: Sequence[Mapping[str, Any]],
  category: Mapping[str, Any],
  skeleton: Skeleton,
  images: Mapping[int, Any],
  named: str,
) -> tuple[list[dict[str, Any]], dict[str, int]]:
  kept: list[dict[str, Any]] = []
  left_out: Counter[str] = Counter()
  for row in rows:
    if row.get("category_id") != category["id"]:
      continue
    where = f"{named}: annotation {row.get('id')}"
    _number(row["image_id"], f"{where}, image_id")
    if int(row["image_id"]) not in images:
      raise ValueError(f"{where} is of image {row['image_id']}, which is not among the images")
    if row.get("iscrowd"):
      left_out[RULES[0]] += 1
      continue
    points = _numbers(row.get("keypoints", []), f"{where}: keypoints")
    if points.size != 3 * skeleton.n_keypoints:
      raise ValueError(
        f"{where} has {points.size} numbers of keypoints: skeleton '{skeleton.name}' has"
        f" {skeleton.n_keypoints} keypoints, 3 numbers each"
      )
    points = points.reshape(-1, 3)
    if not np.isfinite(points).all() or not np.isin(points[:, 2], (0, 1, 2)).all():
      raise ValueError(f"{where}: keypoints are x, y and 0, 1 or 2 (not labelled, hidden, visible)")
    if not (points[:, 2] > 0).any():
      left_out[RULES[1]] += 1
      continue
    if not _number(row.get("area", 1), f"{where}, area") > 0:
      left_out[RULES[2]] += 1
      continue
    _check_box(row, where)
    kept.append({**row, "image_id": int(row["image_id"]), "points": points, "score": 1.0})
  return kept, dict(left_out)


def _detected(
  path: Path, category: Mapping[str, Any], skeleton: Skeleton, images: Mapping[int, Any]
) -> tuple[list[dict[str, Any]], dict[str, int]]:
  kept = []
  for i, row in enumerate(_read_list(path)):
    if not isinstance(row, dict) or not {"image_id", "bbox", "score"} <= row.keys():
      raise ValueError(f"{path}, row {i} has not image_id, bbox and score: it is not a list of detections")
    for key in ("image_id", "score"):
      _number(row[key], f"{path}, row {i}, {key}")
    if row.get("category_id", category["id"]) != category["id"] or int(row["image_id"]) not in images:
      continue
    _check_box(row, f"{path}, row {i}")
    points = np.zeros((skeleton.n_keypoints, 3))
    kept.append({**row, "id": 0, "image_id": int(row["image_id"]), "points": points})
  return kept, {}


def _check_rows(content: Mapping[str, Any], *parts: tuple[str, str], named: str) -> None:
  """Refuses lists whose rows are not objects with this key."""
  for part, key in parts:
    for i, row in enumerate(content[part]):
      if not isinstance(row, Mapping) or key not in row:
        raise ValueError(
          f"{named}: entry {i} of '{part}' has no '{key}': it is not in COCO's keypoint format"
        )


def _check_box(row: Mapping[str, Any], where: str) -> None:
  box = row.get("bbox")
  numbers = _numbers(box, f"{where}: its box")
  if numbers.shape != (4,) or not np.isfinite(numbers).all():
    raise ValueError(f"{where}: its box is {box}: give x, y, width, height")


def _numbers(values: Any, where: str) -> np.ndarray:
  """Returns float64 of a list, or refuses one that holds something else."""
  try:
    return np.asarray(values, np.float64)
  except (TypeError, ValueError):
    raise ValueError(f"{where} is {values!r:.80}: give numbers") from None


def _number(value: Any, where: str) -> float:
  """Returns a finite number, or refuses it."""
  found = _numbers(value, where)
  if found.ndim or not np.isfinite(found):
    raise ValueError(f"{where} is {value!r:.80}: give a number")
  return float(found)


def _stacked(
  rows: list[dict[str, Any]], files: tuple[str, ...], skeleton: Skeleton, crop: Crop, left_out: dict[str, int]
) -> People:
  boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
  points = np.array([row["points"] for row in rows], np.float64).reshape(-1, skeleton.n_keypoints, 3)
  areas = [row.get("area", AREA * box[2] * box[3]) for row, box in zip(rows, boxes, strict=True)]
  centre, scale = centre_and_scale(boxes, aspect=crop.aspect, padding=crop.padding)
  return People(
    files,
    np.array([row["image_id"] for row in rows], np.int64),
    np.array([row.get("id", 0) for row in rows], np.int64),
    points[..., :2].astype(np.float32),
    points[..., 2].astype(np.float32),
    boxes.astype(np.float32),
    np.array(areas, np.float32),
    centre.astype(np.float32),
    scale.astype(np.float32),
    np.array([row["score"] for row in rows], np.float32),
    skeleton,
    left_out,
  )


def _files(folder: Path, names: Sequence[str], named: str) -> tuple[str, ...]:
  """The paths of pictures, all of which are there."""
  if not folder.is_dir():
    raise FileNotFoundError(f"no folder {folder}: give the one with the pictures of {named}")
  gone = sorted(name for name in set(names) if not (folder / name).is_file())
  if gone:
    raise FileNotFoundError(
      f"{len(gone)} pictures of {named} are not in {folder}, the first is {gone[0]}: put them there, or take"
      " their annotations out"
    )
  return tuple(str(folder / name) for name in names)


def _read_list(path: Path) -> list[Any]:
  """Reads a JSON file that holds a list."""
  path = path.expanduser()
  if not path.is_file():
    raise FileNotFoundError(f"no file {path}; check the path")
  if path.stat().st_size > LIMIT:
    raise ValueError(f"{path} has more than {LIMIT} bytes; check the path")
  try:
    found = json.loads(path.read_text(encoding="utf-8-sig"))
  except (ValueError, RecursionError) as error:
    raise ValueError(f"{path} is not JSON: {error}") from error
  if not isinstance(found, list):
    raise ValueError(f"{path} holds a {type(found).__name__}, not a list")
  return found
