"""Evaluation of poses: COCO's AP by pycocotools with rescoring and OKS-NMS, MPII's PCKh, lengths for PCK."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vita_jax.base.choose import choose
from vita_jax.base.files import read_json
from vita_jax.metrics.keypoints import near, oks, oks_terms, pck
from vita_jax.pose.crops import PIXELS, to_picture
from vita_jax.pose.skeletons import MPII, Skeleton, flip_order

__all__ = [
  "LENGTHS",
  "coco_ap",
  "coco_persons",
  "coco_results",
  "coco_truth",
  "lengths_of",
  "near",
  "oks",
  "oks_nms",
  "oks_terms",
  "pck",
  "pckh",
  "person_scores",
  "torso_lengths",
]
LENGTHS = ("torso", "box")
STATS = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L")
PERSON = 1  # COCO's category
AREA = 0.53  # of a box that is the person's own, where nothing else is known: COCO's mean share


def person_scores(box_scores: np.ndarray, joint_scores: np.ndarray, *, threshold: float = 0.2) -> np.ndarray:
  """Computes box score times the mean of the keypoint scores above the threshold (0 if there are none).

  Args:
    box_scores: [n] of a detector; 1 for annotated boxes.
    joint_scores: [n, K], maxima of the heat maps.
    threshold: of keypoint scores.

  Returns:
    float64 [n].

  Examples:
    >>> person_scores(np.array([0.5, 1.0]), np.array([[0.8, 0.4, 0.1], [0.1, 0.2, 0.0]])).round(3).tolist()
    [0.3, 0.0]
  """
  scores = np.asarray(joint_scores, np.float64)
  above = scores > threshold
  means = np.sum(np.where(above, scores, 0.0), axis=-1) / np.maximum(above.sum(axis=-1), 1)
  return np.asarray(box_scores, np.float64) * means


def oks_nms(
  joints: np.ndarray,
  scores: np.ndarray,
  areas: np.ndarray,
  skeleton: Skeleton,
  *,
  image_ids: Sequence[int] | np.ndarray | None = None,
  threshold: float = 0.9,
) -> np.ndarray:
  """Drops persons that are like one of a higher score in the same picture: greedy suppression by OKS.

  The similarity of two is taken over all keypoints, with the mean of their areas.

  Args:
    joints: [n, K, 2] in pixels of the pictures.
    scores: [n], see `person_scores`.
    areas: [n]; the published protocol takes those of the padded boxes, the product of 200 scale.
    skeleton: of the keypoints.
    image_ids: [n]; None: one picture.
    threshold: a person is dropped if the similarity is above.

  Returns:
    int [kept]: rows, in their order.
  """
  joints, scores, areas = (np.asarray(x, np.float64) for x in (joints, scores, areas))
  pictures = np.zeros(len(scores), np.int64) if image_ids is None else np.asarray(image_ids)
  kept = []
  for picture in np.unique(pictures):
    rows = np.flatnonzero(pictures == picture)
    left = rows[np.argsort(-scores[rows], kind="stable")]
    while len(left):
      first, rest = left[0], left[1:]
      kept.append(first)
      mean = (areas[first] + areas[rest]) / 2
      alike = oks_terms(joints[rest], joints[first], mean, skeleton.sigmas).mean(axis=-1)
      left = rest[alike <= threshold]
  return np.sort(np.array(kept, np.int64))


def coco_results(
  image_ids: Sequence[int] | np.ndarray,
  joints: np.ndarray,
  joint_scores: np.ndarray,
  scores: np.ndarray,
  *,
  category: int = PERSON,
) -> list[dict[str, Any]]:
  """Lists persons as COCO's result files have them: one dict each, ready for JSON.

  Args:
    image_ids: [n].
    joints: [n, K, 2] in pixels of the pictures.
    joint_scores: [n, K].
    scores: [n].
    category: id of the category.
  """
  triples = np.concatenate([joints, np.asarray(joint_scores)[..., None]], axis=-1).astype(np.float64)
  return [
    {
      "image_id": int(image),
      "category_id": category,
      "keypoints": [float(x) for x in row.reshape(-1)],
      "score": float(score),
    }
    for image, row, score in zip(image_ids, triples, scores, strict=True)
  ]


def coco_persons(
  joints: Any,
  joint_scores: Any,
  *,
  centre: np.ndarray,
  scale: np.ndarray,
  box_scores: np.ndarray,
  image_ids: Sequence[int] | np.ndarray,
  size: tuple[int, int],
  skeleton: Skeleton,
  convention: str = "half",
  threshold: float = 0.9,
) -> list[dict[str, Any]]:
  """Turns decoded heat maps into COCO's results: back to the pictures, rescored, suppressed.

  Args:
    joints: [n, K, 2] in places of the map, see `heatmaps.decode`.
    joint_scores: [n, K].
    centre: [n, 2] of the crops, see `crops.centre_and_scale`.
    scale: [n, 2].
    box_scores: [n]; 1 for annotated boxes.
    image_ids: [n].
    size: (height, width) of the maps.
    skeleton: of the keypoints.
    convention: of the crops.
    threshold: see `oks_nms`; areas are those of the padded boxes.

  Returns:
    See `coco_results`.
  """
  centre, scale = np.asarray(centre, np.float64), np.asarray(scale, np.float64)
  found = to_picture(np.asarray(joints, np.float64), centre, scale, size=size, convention=convention)
  scores = person_scores(box_scores, joint_scores)
  areas, ids = np.prod(PIXELS * scale, axis=-1), np.asarray(image_ids)
  kept = oks_nms(found, scores, areas, skeleton, image_ids=ids, threshold=threshold)
  return coco_results(ids[kept], found[kept], np.asarray(joint_scores)[kept], scores[kept])


def coco_truth(
  joints: np.ndarray,
  visible: np.ndarray,
  areas: np.ndarray,
  boxes: np.ndarray,
  skeleton: Skeleton,
  *,
  image_ids: Sequence[int] | np.ndarray | None = None,
  size: tuple[int, int] = (0, 0),
  files: Sequence[str] | None = None,
) -> dict[str, Any]:
  """Writes labelled persons in COCO's format, so that any data set is evaluated by the same code.

  Args:
    joints: [n, K, 2].
    visible: [n, K]: 0, 1 or 2.
    areas: [n].
    boxes: [n, 4] of x, y, w, h.
    skeleton: of the keypoints.
    image_ids: [n]; None: 1 to n, one person in each.
    size: (height, width) of the pictures.
    files: of the picture of each person.

  Returns:
    A dict for JSON and for `coco_ap`.
  """
  ids = np.arange(1, len(joints) + 1) if image_ids is None else np.asarray(image_ids)
  names = [f"{i:06d}.png" for i in ids] if files is None else list(files)
  images = {int(i): name for i, name in zip(ids, names, strict=True)}
  people = []
  for i in range(len(joints)):
    flags = np.asarray(visible[i]).astype(int)
    points = np.concatenate(
      [np.asarray(joints[i], np.float64) * (flags[:, None] > 0), flags[:, None]], axis=-1
    )
    people.append(
      {
        "id": i + 1,
        "image_id": int(ids[i]),
        "category_id": PERSON,
        "iscrowd": 0,
        "num_keypoints": int((flags > 0).sum()),
        "keypoints": [float(x) for x in points.reshape(-1)],
        "area": float(areas[i]),
        "bbox": [float(x) for x in boxes[i]],
      }
    )
  category = {
    "id": PERSON,
    "name": skeleton.name,
    "keypoints": list(skeleton.names),
    "skeleton": [[a + 1, b + 1] for a, b in skeleton.limbs],
  }
  return {
    "images": [
      {"id": i, "file_name": name, "height": size[0], "width": size[1]} for i, name in images.items()
    ],
    "annotations": people,
    "categories": [category],
  }


def coco_ap(
  truth: Mapping[str, Any] | str | os.PathLike,
  results: Sequence[Mapping[str, Any]],
  *,
  skeleton: Skeleton,
  image_ids: Sequence[int] | None = None,
) -> dict[str, float]:
  """Computes COCO's keypoint AP and AR by pycocotools.

  Args:
    truth: annotations in COCO's format, or the path of such a file.
    results: of `coco_results`; they are of the annotations' category with keypoints, whatever its number.
    skeleton: whose sigmas are taken.
    image_ids: pictures that are evaluated, those without a detection, too; None: all of `truth`.

  Returns:
    `STATS` -> value in [0, 1]; -1 where nothing of that size is labelled, as pycocotools has it.

  Raises:
    ImportError: pycocotools is missing.
    ValueError: a result with another number of keypoints, or in a picture that `truth` does not have.
  """
  if importlib.util.find_spec("pycocotools") is None:
    raise ImportError("COCO's AP needs pycocotools: pip install 'vita_jax[pose]'")
  from pycocotools.coco import COCO as Annotations
  from pycocotools.cocoeval import COCOeval

  content = dict(
    truth if isinstance(truth, Mapping) else read_json(truth, what="annotations of COCO", limit=1 << 30)
  )
  posed = [one["id"] for one in content.get("categories", ()) if one.get("keypoints")]
  category = posed[0] if posed else PERSON
  known = {int(image["id"]) for image in content["images"]}
  wanted = sorted(known if image_ids is None else {int(i) for i in image_ids})
  for one in results:
    if int(one["image_id"]) not in known:
      raise ValueError(f"a result is of image {one['image_id']}, which the annotations do not have")
    if len(one["keypoints"]) != 3 * skeleton.n_keypoints:
      raise ValueError(
        f"a result of image {one['image_id']} has {len(one['keypoints'])} numbers: skeleton '{skeleton.name}'"
        f" has {skeleton.n_keypoints} keypoints, 3 numbers each"
      )
  if not results:
    return dict.fromkeys(STATS, 0.0)
  with contextlib.redirect_stdout(io.StringIO()):
    annotations = Annotations()
    people = [_completed(row, skeleton) for row in content["annotations"]]
    annotations.dataset = {"info": {}, "licenses": [], **content, "annotations": people}
    annotations.createIndex()
    found = annotations.loadRes([{**one, "category_id": category} for one in results])
    evaluation = COCOeval(annotations, found, "keypoints")
    evaluation.params.kpt_oks_sigmas = np.array(skeleton.sigmas)
    evaluation.params.imgIds, evaluation.params.catIds = wanted, [category]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
  return {name: float(value) for name, value in zip(STATS, evaluation.stats, strict=True)}


def _completed(row: Mapping[str, Any], skeleton: Skeleton) -> dict[str, Any]:
  """An annotation with what pycocotools asks for, where the file does not say it; see `data.people_files`."""
  points = row.get("keypoints") or [0] * (3 * skeleton.n_keypoints)
  x, y, width, height = row.get("bbox", (0, 0, 0, 0))
  seen = sum(flag > 0 for flag in points[2::3])
  known = {"iscrowd": 0, "num_keypoints": seen, "area": AREA * width * height, "bbox": [x, y, width, height]}
  return {**known, **row, "keypoints": points}


def torso_lengths(truth: Any, visible: Any, skeleton: Skeleton) -> np.ndarray:
  """Measures the length that PCK is told in: between the means of the two groups of `Skeleton.torso`.

  Args:
    truth: [n, K, 2].
    visible: [n, K].
    skeleton: of the keypoints.

  Returns:
    float64 [n]; 0 where a keypoint of the groups is not labelled.

  Raises:
    ValueError: the skeleton has no torso.
  """
  if not all(skeleton.torso):
    raise ValueError(f"skeleton '{skeleton.name}' has no torso: give one, or take the length of the box")
  truth, seen = np.asarray(truth, np.float64), np.asarray(visible) > 0
  ends = [truth[:, list(group)].mean(axis=1) for group in skeleton.torso]
  whole = seen[:, [i for group in skeleton.torso for i in group]].all(axis=1)
  return np.where(whole, np.linalg.norm(ends[0] - ends[1], axis=-1), 0.0)


def lengths_of(kind: str, *, truth: Any, visible: Any, boxes: Any, skeleton: Skeleton) -> np.ndarray:
  """Measures the lengths for PCK by their kind: "torso", see `torso_lengths`, or "box", its longer side.

  Returns:
    float64 [n].

  Raises:
    ValueError: another kind, or a skeleton without torso.
  """
  if choose("length", kind, LENGTHS) == "box":
    return np.asarray(boxes, np.float64)[:, 2:].max(axis=-1)
  return torso_lengths(truth, visible, skeleton)


def pckh(
  joints: np.ndarray,
  truth: np.ndarray,
  visible: np.ndarray,
  heads: np.ndarray,
  *,
  skeleton: Skeleton = MPII,
  threshold: float = 0.5,
  left_out: Sequence[str] = ("pelvis", "thorax"),
) -> dict[str, float]:
  """Computes MPII's PCKh: keypoints at most `threshold` head sizes away, in percent.

  The head size is 0.6 times the diagonal of the head box. Left and right count together; the mean is over the
  labelled keypoints, without pelvis and thorax.

  Args:
    joints: [n, K, 2] in pixels of the picture.
    truth: [n, K, 2].
    visible: [n, K].
    heads: [n], diagonals of the head boxes in pixels.
    skeleton: of the keypoints.
    threshold: in head sizes; the published "Mean@0.1" is taken at 0.11 [reference code].
    left_out: keypoints that do not count in the mean.

  Returns:
    Names of keypoints, "left_" and "right_" cut off, and "mean" -> percent; NaN for a keypoint without
    labels.

  Raises:
    ValueError: a head box without size.

  Examples:
    >>> truth = np.zeros((1, 16, 2))
    >>> away = np.array([30.0, 0.0])
    >>> pckh(truth + away, truth, np.ones((1, 16)), np.array([100.0]))["mean"]
    100.0
  """
  heads = np.asarray(heads, np.float64)
  if not np.all(heads > 0):
    raise ValueError("a head box has no size: PCKh is measured by its diagonal; leave the person out")
  seen = np.asarray(visible) > 0
  truth = np.asarray(truth, np.float64)
  right = near(np.asarray(joints, np.float64), truth, 0.6 * heads, threshold=threshold) & seen
  partner, groups = flip_order(skeleton), {}
  for i, name in enumerate(skeleton.names):
    both = sorted({i, partner[i]})
    label = name.replace("left_", "").replace("right_", "")
    groups[label] = _percent(right[:, both], seen[:, both])
  counted = [i for i, name in enumerate(skeleton.names) if name not in left_out]
  return {**groups, "mean": _percent(right[:, counted], seen[:, counted])}


def _percent(right: np.ndarray, seen: np.ndarray) -> float:
  return float(100.0 * right.sum() / seen.sum()) if seen.any() else float("nan")
