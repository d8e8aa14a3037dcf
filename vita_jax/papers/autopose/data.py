"""The inputs: rows that train weights, rows that choose the architecture, rows that only score, and the test.

A search never sees the test rows. Its training rows are split once and in order, so that of a film different
times are on the two sides, and people of one picture never on both. Who walks by twice is on both.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from vita_jax.data.people import People, PersonRows
from vita_jax.data.people_files import read_coco, read_mpii
from vita_jax.data.poses import crops_of, load_people, load_poses, split_people
from vita_jax.data.resident import Resident
from vita_jax.data.splits import cut_in_order
from vita_jax.data.stream import Stream
from vita_jax.papers.autopose.recipe import Recipe
from vita_jax.pose.augment import Augmentation, CropPerson
from vita_jax.pose.crops import Crop
from vita_jax.pose.skeletons import Skeleton

Arrays = dict[str, np.ndarray]
EVALUATED = 50  # crops in a batch of an evaluation
KEPT = ("image", "joints", "visible", "box", "area", "length")  # columns that steps and evaluations read


class Inputs(NamedTuple):
  """What a run reads. Rows have `KEPT`, see `vita_jax.data.poses.Poses`.

  Attributes:
    train: all training rows, for a network that is trained by itself.
    weights: those that train weights in a search.
    chooser: those that train alpha and reward the controller.
    held: those that only score candidates.
    test: the test rows, in order.
    rows: the test rows as arrays; of a stream without pictures.
    people: the test persons in their pictures, where they have any.
    skeleton: of the keypoints.
    mean: float32 [K, 2], the median place of each keypoint in training crops: what needs no network.
    length: what PCK is measured in.
    source: where all come from.
  """

  train: Resident | Stream
  weights: Resident | Stream
  chooser: Resident | Stream
  held: Resident | Stream
  test: Resident | Stream
  rows: Arrays
  people: People | None
  skeleton: Skeleton
  mean: np.ndarray
  length: str
  source: str


def crop_of(recipe: Recipe) -> Crop:
  """Returns how crops are made."""
  return Crop(tuple(recipe.data.size), recipe.data.convention)


def augmentation_of(recipe: Recipe, *, host: bool) -> Augmentation:
  """Returns what is drawn while training; half bodies on the host alone."""
  data = recipe.data
  return Augmentation(
    scale=data.scale,
    rotation=data.rotation,
    flip=data.flip,
    half_body=data.half_body if host else 0.0,
    shift=tuple(data.shift),
  )


def read_inputs(recipe: Recipe) -> Inputs:
  """Reads the data of a run.

  Raises:
    FileNotFoundError: no such file, or data that are not there.
    ValueError: unusable rows, or too few of them.
  """
  data, people = recipe.data, None
  if not data.annotations and data.name not in ("coco", "mpii"):
    poses = load_poses(data.name, size=tuple(data.size), count=tuple(data.count))
    return _of_arrays(recipe, poses.train, poses.test, None, poses.skeleton, poses.length, poses.source)
  crop = crop_of(recipe)
  if not data.annotations:
    people = load_people(data.name, crop=crop)
    rows = crops_of(people, crop)
    source = f"{len(people.files)} persons of {data.name}, which train and test alike"
    return _of_arrays(recipe, rows, rows, people, people.skeleton, "torso", source)
  training, test = _people(recipe, crop)
  source = f"{data.annotations}: {len(training.files)} persons to train, {len(test.files)} to test"
  if not data.stream:
    rows = crops_of(training, crop)
    return _of_arrays(recipe, rows, crops_of(test, crop), test, test.skeleton, "torso or box", source)
  return _of_streams(recipe, crop, training, test, source)


def _people(recipe: Recipe, crop: Crop) -> tuple[People, People]:
  data = recipe.data

  def read(annotations: str, folder: str, detections: str = "") -> People:
    if data.name == "mpii":
      return read_mpii(annotations, folder, crop=crop)
    return read_coco(annotations, folder, crop=crop, detections=detections or None)

  training = read(data.annotations, data.folder)
  if not data.test_annotations:
    return split_people(training, held_out=data.held_out)
  test = read(data.test_annotations, data.test_folder, data.detections)
  if (names := test.skeleton.names) != training.skeleton.names:
    listed = f"{data.test_annotations} has the keypoints {', '.join(names)}"
    raise ValueError(f"{listed}: those of {data.annotations} are {', '.join(training.skeleton.names)}")
  return training, test


def parts(recipe: Recipe, pictures: np.ndarray) -> list[np.ndarray]:
  """Splits training rows by their pictures, int [n], in order: to train weights, to choose, to score only.

  Raises:
    ValueError: too few rows.
  """
  n = len(pictures)
  first = round(recipe.data.weights_share * n)
  held = max(1, round(recipe.data.held_share * (n - first)))
  found = cut_in_order(pictures, (first, n - first - held, held)) if n > first + held else []
  if not found or not all(map(len, found)):
    raise ValueError(f"{n} training rows are too few: a search needs some to train, to choose and to score")
  return found


def _of_arrays(
  recipe: Recipe,
  train: Arrays,
  test: Arrays,
  people: People | None,
  skeleton: Skeleton,
  length: str,
  source: str,
) -> Inputs:
  size = recipe.search.batch if recipe.searches else recipe.train.batch
  n = len(train["joints"])

  def some(rows: slice | np.ndarray, *, batch: int, order: str = "shuffled") -> Resident:
    arrays = {name: train[name][rows] for name in KEPT}
    count = len(arrays["joints"])
    if order == "shuffled" and batch > count:
      raise ValueError(
        f"a step takes {batch} crops, and there are {count} rows for it: lower config"
        f".{'search' if recipe.searches else 'train'}.batch"
      )
    drop = "drop" if order == "shuffled" else "pad"
    return Resident(arrays, min(batch, count), order=order, remainder=drop)

  whole = some(slice(0, n), batch=min(size, n) if recipe.searches else size)
  searched: list[Resident] = [whole, whole, whole]
  if recipe.searches:
    weights, chooser, held = parts(recipe, train.get("picture", np.arange(n)))
    held_rows = some(held, batch=EVALUATED, order="rows")
    searched = [some(weights, batch=size), some(chooser, batch=size), held_rows]
  rows = {name: test[name] for name in KEPT}
  return Inputs(
    train=whole,
    weights=searched[0],
    chooser=searched[1],
    held=searched[2],
    test=Resident(rows, min(EVALUATED, len(rows["joints"])), order="rows"),
    rows=test,
    people=people,
    skeleton=skeleton,
    mean=median_pose(train["joints"], train["visible"]),
    length=length,
    source=source,
  )


def median_pose(joints: np.ndarray, visible: np.ndarray) -> np.ndarray:
  """Computes the median place of each keypoint where it is labelled, float32 [K, 2]; 0 where it never is."""
  places = [points[seen] for points, seen in zip(joints.swapaxes(0, 1), (visible > 0).T, strict=True)]
  medians = [np.median(own, axis=0) if len(own) else np.zeros(2) for own in places]
  return np.array(medians, np.float32)


def _of_streams(recipe: Recipe, crop: Crop, training: People, test: People, source: str) -> Inputs:
  skeleton = training.skeleton
  drawn = CropPerson(crop, skeleton, augmentation_of(recipe, host=True))
  still = CropPerson(crop, skeleton)
  size = recipe.search.batch if recipe.searches else recipe.train.batch

  def some(people: People, transform: CropPerson, *, batch: int, order: str = "shuffled") -> Stream:
    drop = "drop" if order == "shuffled" else "pad"
    return Stream(PersonRows(people), batch, order, drop, partial(cut_out, transform))

  found = parts(recipe, training.image_ids) if recipe.searches else []
  weights, chooser, held = (training.only(rows) for rows in found) if found else (training,) * 3
  inside = (training.joints - training.centre[:, None]) / (200 * training.scale[:, None, :1])
  inside = inside * crop.size[1] + np.array(crop.size[::-1]) / 2
  columns: Any = {"joints": test.joints, "visible": test.visible, "centre": test.centre, "scale": test.scale}
  return Inputs(
    some(training, drawn, batch=size),
    some(weights, drawn, batch=size),
    some(chooser, still, batch=size),
    some(held, still, batch=min(EVALUATED, len(held.files)), order="rows"),
    some(test, still, batch=min(EVALUATED, len(test.files)), order="rows"),
    rows={**columns, "score": test.scores},
    people=test,
    skeleton=skeleton,
    mean=median_pose(inside, training.visible),
    length="box",
    source=source,
  )


def cut_out(crop: CropPerson, row: Any, rng: np.random.Generator) -> dict[str, Any]:
  """Cuts a row's crop out, with `area`, `box` and `length` in its pixels: a transform of a `Stream`."""
  found = crop(row, rng)
  ratio = crop.crop.size[1] / (200.0 * float(found["scale"][0]))
  area = np.float32(found["area"] * ratio**2)
  side = np.float32(max(np.sqrt(area), 1.0))
  columns = {"image": found["image"], "joints": found["joints"], "visible": found["visible"]}
  return {**columns, "area": area, "box": np.array([0, 0, side, side], np.float32), "length": side}
