"""The named pose data: what each holds, and the ceiling and floor of the pedestrians' labels."""

import numpy as np
import pytest

from vita_jax.data import load_people, load_poses, sources
from vita_jax.data.pedestrians import available
from vita_jax.metrics import divide
from vita_jax.metrics.keypoints import pck
from vita_jax.pose.crops import Crop
from vita_jax.pose.skeletons import COCO, MPII, OPENFIELD

needs_pedestrians = pytest.mark.skipif(
  not available(), reason="no vision/vtest_people.* under $VITA_DATA_DIR"
)


def _has(name):
  return all(sources.data_file(file) is not None for file in sources.SOURCES[name].files)


def _check(rows, skeleton):
  n = len(rows["image"])
  assert rows["image"].dtype == np.uint8
  shapes = {
    "joints": (n, skeleton.n_keypoints, 2),
    "visible": (n, skeleton.n_keypoints),
    "box": (n, 4),
    "area": (n,),
    "length": (n,),
  }
  assert {name: rows[name].shape for name in shapes} == shapes
  assert all(rows[name].dtype == np.float32 for name in shapes)
  assert (rows["area"] > 0).all()


def test_figures_have_a_test_set_that_no_seed_changes():
  poses, other = (load_poses("figures", count=(4, 3), size=(32, 32), seed=s) for s in (0, 1))
  for rows in (poses.train, poses.test):
    _check(rows, poses.skeleton)
  np.testing.assert_array_equal(poses.test["image"], other.test["image"])
  assert not np.array_equal(poses.train["image"], other.train["image"])


@needs_pedestrians
def test_pedestrians_are_split_by_time_and_their_labels_have_a_ceiling():
  poses = load_poses("pedestrians")
  assert (len(poses.train["image"]), len(poses.test["image"])) == (206, 119)
  assert poses.train["picture"].max() < 550 and poses.test["picture"].min() >= 600
  assert poses.train["image"].shape == (206, 64, 64, 3) and poses.skeleton is COCO
  for rows in (poses.train, poses.test):
    _check(rows, COCO)
  test = poses.test
  share = {
    "ceiling": pck(test["second"], test["joints"], test["visible"], test["length"]),
    "median": pck(
      np.median(poses.train["joints"], axis=0)[None], test["joints"], test["visible"], test["length"]
    ),
  }
  assert divide(share) == pytest.approx({"ceiling": 0.946, "median": 0.421}, abs=5e-4)


@needs_pedestrians
def test_halved_crops_keep_their_places():
  whole, half = load_poses("pedestrians", size=(128, 128)), load_poses("pedestrians")
  np.testing.assert_allclose((whole.test["joints"] + 0.5) / 2 - 0.5, half.test["joints"], atol=1e-4)
  box = whole.test["image"][7].reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
  assert np.abs(box - half.test["image"][7]).mean() < 8
  with pytest.raises(ValueError, match="size is 256: the crops have 128 pixels"):
    load_poses("pedestrians", size=(256, 256))


@pytest.mark.skipif(not _has("pose/openfield"), reason="no pose/openfield under $VITA_DATA_DIR")
def test_the_mouse_is_halved_and_padded():
  poses = load_poses("mouse")
  assert poses.train["image"].shape == (88, 128, 64, 3) and len(poses.test["image"]) == 28
  _check(poses.train, OPENFIELD)
  assert not poses.train["image"][:, 120:].any() and poses.train["image"][:, :120].any()
  lengths = np.concatenate([poses.train["length"], poses.test["length"]])
  assert (lengths.min(), np.median(lengths), lengths.max()) == pytest.approx((25.5, 29.3, 35.75), abs=0.1)
  with pytest.raises(ValueError, match="size is 64 x 64: the frames of the mouse are 128 x 64"):
    load_poses("mouse", size=(64, 64))


@pytest.mark.skipif(not _has("pose/coco"), reason="no pose/coco under $VITA_DATA_DIR")
def test_twelve_persons_of_coco_and_the_boxes_of_a_detector():
  crop = Crop((256, 192))
  people = load_people("coco", crop=crop)
  assert len(people.files) == 12 and people.left_out == {"no labelled keypoint": 2}
  assert people.areas[0] == pytest.approx(27789.11055) and people.visible[0].sum() > 17
  found = load_people("coco", crop=crop, detected=True)
  assert len(found.files) == 118 and found.scores.max() > 0.99 and not found.visible.any()
  poses = load_poses("coco")
  assert poses.train["image"].shape == (12, 128, 96, 3)
  _check(poses.train, COCO)


@pytest.mark.skipif(not _has("pose/mpii"), reason="no pose/mpii under $VITA_DATA_DIR")
def test_five_persons_of_mpii():
  poses = load_poses("mpii")
  assert poses.skeleton is MPII and poses.train["image"].shape == (5, 128, 128, 3)
  _check(poses.train, MPII)
  with pytest.raises(ValueError, match="'mpii' has no boxes of a detector: coco has"):
    load_people("mpii", crop=Crop((64, 64)), detected=True)


def test_missing_files_and_unknown_names_get_one_line(closed_doors):
  for name, file in (
    ("pedestrians", "vtest_people.webp"),
    ("mouse", "keypoints.csv"),
    ("coco", "test_coco.json"),
  ):
    with pytest.raises(FileNotFoundError, match=rf"there is no \S*{file} under \$VITA_DATA_DIR"):
      load_poses(name)
  with pytest.raises(ValueError, match="unknown poses 'pedestrian': did you mean 'pedestrians'"):
    load_poses("pedestrian")
  with pytest.raises(ValueError, match="size is 64 x 48: figures are squares"):
    load_poses("figures", size=(64, 48))
