"""355 crops of pedestrians in one street, with keypoints of BlazePose: from $VITA_DATA_DIR alone, never
shipped.

The labels are pseudo-labels: those of BlazePose's heavy network, on pictures where it agrees with the full
one. `second` are the labels of the full network: their PCK is the ceiling that a comparison must print. All
crops are of one fixed camera, and neighbouring frames show the same people in the same step: so they are
split by time. The same few people walk by again, though: training and test crops are of other moments, not of
other people.
"""

from __future__ import annotations

import os

import numpy as np

from vita_jax.data import sources
from vita_jax.data.augment import resize
from vita_jax.data.files import read_npz
from vita_jax.data.files_image import read_image
from vita_jax.data.people import extent_areas, extent_boxes
from vita_jax.pose.evaluate import torso_lengths
from vita_jax.pose.skeletons import COCO

SOURCE = "pose/pedestrians"
SIDE, COLUMNS = 128, 20  # of a crop in pixels, and of the sheet
TRAIN_UNTIL, TEST_FROM = 550, 600  # frames; those between are left out, so that neighbours are on one side


def load_pedestrians(*, size: int = 64) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
  """Loads the crops of 206 (training) and 119 (test), split by time.

  Args:
    size: side in pixels, at most 128; smaller ones are filtered (bilinear, antialiased).

  Returns:
    (train, test), each {"image" uint8 [n, size, size, 3], "joints" float32 [n, 17, 2], "second" float32
    [n, 17, 2], "visible" [n, 17] (all 1), "box" [n, 4] the extent of the keypoints, "area" [n] 0.53 of the
    box's, "length" [n] the torso from the middle of the shoulders to that of the hips, "picture" int32
    [n], the frame}.

  Raises:
    FileNotFoundError: the files are not under $VITA_DATA_DIR.
    ValueError: other files than the recorded ones, or a size above 128.
  """
  if not 8 <= size <= SIDE:
    raise ValueError(f"size is {size}: the crops have {SIDE} pixels; give 8 to {SIDE}")
  files = sources.source_files(SOURCE)
  if files is None:
    raise FileNotFoundError(
      f"no pedestrians: there is {sources.missing(SOURCE)}; they may not be shipped. Figures need no file"
    )
  sheet, labels = (
    read_image(files["vision/vtest_people.webp"]),
    read_npz(files["vision/vtest_people_labels.npz"]),
  )
  rows = sheet.reshape(-1, SIDE, COLUMNS, SIDE, 3).transpose(0, 2, 1, 3, 4).reshape(-1, SIDE, SIDE, 3)
  images = rows[: len(labels["frame"])]
  if size < SIDE:
    images = np.stack([resize(image, size=(size, size)) for image in images])
  ratio = size / SIDE
  joints, second = ((labels[k] + 0.5) * ratio - 0.5 for k in ("joints", "joints_full"))
  visible = np.ones(joints.shape[:2], np.float32)
  found = {
    "image": images,
    "joints": joints.astype(np.float32),
    "second": second.astype(np.float32),
    "visible": visible,
    "box": extent_boxes(joints, visible).astype(np.float32),
    "area": extent_areas(joints, visible).astype(np.float32),
    "length": torso_lengths(joints, visible, COCO).astype(np.float32),
    "picture": labels["frame"].astype(np.int32),
  }
  early, late = found["picture"] < TRAIN_UNTIL, found["picture"] >= TEST_FROM
  return {k: x[early] for k, x in found.items()}, {k: x[late] for k, x in found.items()}


def available() -> bool:
  """Tells whether the files are there; their content is not checked."""
  return all(sources.data_file(name) is not None for name in sources.SOURCES[SOURCE].files)


def where() -> str:
  """Says where the data come from, for tables."""
  return f"{os.environ.get('VITA_DATA_DIR', '')}/vision/vtest_people.webp"
