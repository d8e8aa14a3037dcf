"""Persons of files in COCO's and MPII's formats: what is read, what is left out, what is refused."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vita_jax.data import (
  PersonRows,
  Stream,
  WideCrops,
  crops_of,
  read_coco,
  read_mpii,
  read_people,
  split_people,
)
from vita_jax.data.stream import read_batch
from vita_jax.data.tfds_files import open_rows, write_rows
from vita_jax.pose import to_picture
from vita_jax.pose.augment import MPII_AUGMENTATION, CropPerson
from vita_jax.pose.crops import Crop

CROP = Crop((64, 48))
JOINTS = np.array([[30.0, 20, 2], [50, 22, 1], [0, 0, 0]])


def _person(number, image=1, **changes):
  row = {
    "id": number,
    "image_id": image,
    "category_id": 3,
    "iscrowd": 0,
    "bbox": [20.0, 10, 40, 50],
    "area": 900.0,
  }
  return {**row, "keypoints": JOINTS.reshape(-1).tolist(), "num_keypoints": 2, **changes}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp("people")
  rng = np.random.default_rng(0)
  for name in ("a.png", "b.png", "c.png"):
    Image.fromarray(rng.integers(0, 256, (80, 100, 3), dtype=np.uint8)).save(root / name)
  return root


@pytest.fixture
def content():
  images = [{"id": i + 1, "file_name": f"{n}.png", "width": 100, "height": 80} for i, n in enumerate("abc")]
  category = {
    "id": 3,
    "name": "bird",
    "keypoints": ["left_eye", "right_eye", "beak"],
    "skeleton": [[1, 3], [2, 3]],
  }
  return {
    "images": images,
    "categories": [category],
    "annotations": [_person(1), _person(2, 2), _person(3, 3)],
  }


def test_any_keypoints_in_cocos_format(content, folder, tmp_path):
  path = tmp_path / "birds.json"
  path.write_text(json.dumps(content))
  people = read_coco(path, folder, crop=CROP)
  assert people.skeleton.names == ("left_eye", "right_eye", "beak") and people.skeleton.flip_pairs == (
    (0, 1),
  )
  assert people.joints.shape == (3, 3, 2) and people.visible[0].tolist() == [2, 1, 0] and not people.left_out
  assert people.boxes[0].tolist() == [20, 10, 39, 49]  # clipped as the protocol has it
  np.testing.assert_allclose(people.centre[0], [39.5, 34.5])
  np.testing.assert_allclose(people.scale[0], np.array([39, 52]) / 200 * 1.25, rtol=1e-6)
  row = PersonRows(people)[2]
  assert row["image"].shape == (80, 100, 3) and int(row["person"]) == 2


def test_the_stated_rules(content, folder):
  content["annotations"] += [
    _person(4, iscrowd=1, keypoints=[]),
    _person(5, keypoints=[0.0] * 9),
    _person(6, bbox=[10, 10, 0, 5]),
    _person(7, bbox=[300, 10, 20, 20]),
    _person(8, area=0),
    _person(9, category_id=1, keypoints=[]),  # of another category: not a person at all
  ]
  people = read_coco(content, folder, crop=CROP)
  assert people.ids.tolist() == [1, 2, 3]
  assert people.left_out == {"crowd": 1, "no labelled keypoint": 1, "box empty or outside of its picture": 3}


def test_nobody_left_is_refused(content, folder):
  content["annotations"] = [_person(1, iscrowd=1)]
  people = read_coco(content, folder, crop=CROP)
  with pytest.raises(ValueError, match=r"there is nobody to train on: .* \{'crowd': 1\}"):
    PersonRows(people)


def _without(key):
  def change(content):
    del content[key]

  return change


def _changed(**changes):
  def change(content):
    content["annotations"][1].update(changes)

  return change


def _image(**changes):
  def change(content):
    content["images"][1].update(changes)

  return change


def _no_image(content):
  del content["annotations"][1]["image_id"]


def _categories(content):
  content["categories"] = [{"id": 3, "name": "bird"}]


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (_without("categories"), "has no list 'categories'.*: it is not in COCO's keypoint format"),
    (_no_image, "entry 1 of 'annotations' has no 'image_id'"),
    (_categories, "has 0 categories with keypoints: there must be one"),
    (
      _changed(keypoints=[1.0, 2, 2]),
      "annotation 2 has 3 numbers of keypoints: skeleton 'bird' has 3 keypoints",
    ),
    (_changed(keypoints=[float("nan"), 2, 2] * 3), "annotation 2: keypoints are x, y and 0, 1 or 2"),
    (_changed(keypoints=[1.0, 2, 5] * 3), "annotation 2: keypoints are x, y and 0, 1 or 2"),
    (_changed(image_id=9), "annotation 2 is of image 9, which is not among the images"),
    (_changed(bbox=[1, 2]), "annotation 2: its box is \\[1, 2\\]: give x, y, width, height"),
    (_changed(bbox=[1, 2, float("inf"), 3]), "annotation 2: its box is"),
    (_changed(bbox=[1, 2, "wide", 3]), "annotation 2: its box is .*'wide'.*: give numbers"),
    (_changed(bbox=None), "annotation 2: its box is None: give x, y, width, height"),
    (_changed(keypoints=["x", 2, 2] * 3), "annotation 2: keypoints is .*: give numbers"),
    (_changed(area=None), "annotation 2, area is None: give a number"),
    (_changed(image_id="two"), "annotation 2, image_id is 'two': give numbers"),
    (_image(id="two"), "entry 1 of 'images', id is 'two': give numbers"),
    (_image(width=None), "image 2, width is None: give a number"),
    (_image(width=0), "image 2 has no size"),
  ],
)
def test_what_does_not_fit_is_refused_by_its_number(content, folder, change, message):
  changed = copy.deepcopy(content)
  change(changed)
  with pytest.raises(ValueError, match=message):
    read_coco(changed, folder, crop=CROP)


def test_missing_pictures_are_refused_with_their_number(content, folder, tmp_path):
  content["images"][1]["file_name"] = "gone.png"
  with pytest.raises(
    FileNotFoundError, match="1 pictures of the annotations are not in .*, the first is gone.png"
  ):
    read_coco(content, folder, crop=CROP)
  with pytest.raises(FileNotFoundError, match="no folder .*nowhere: give the one with the pictures"):
    read_coco(content, tmp_path / "nowhere", crop=CROP)


def test_boxes_of_a_detector(content, folder, tmp_path):
  found = [
    {"image_id": i, "category_id": 3, "bbox": [5, 5, 30, 40], "score": s} for i, s in ((1, 0.9), (3, 0.2))
  ]
  path = tmp_path / "detections.json"
  path.write_text(json.dumps([*found, {**found[0], "image_id": 77}, {**found[0], "bbox": [200, 5, 3, 3]}]))
  people = read_coco(content, folder, crop=CROP, detections=path)
  assert people.image_ids.tolist() == [1, 3] and people.scores.tolist() == pytest.approx([0.9, 0.2])
  assert people.boxes[0].tolist() == [5, 5, 30, 40]  # as it is: the protocol clips annotated boxes alone
  assert not people.visible.any() and people.left_out == {"box empty or outside of its picture": 1}
  path.write_text(json.dumps([{"image_id": 1}]))
  with pytest.raises(ValueError, match="row 0 has not image_id, bbox and score"):
    read_coco(content, folder, crop=CROP, detections=path)
  path.write_text("{}")
  with pytest.raises(ValueError, match="holds a dict, not a list"):
    read_coco(content, folder, crop=CROP, detections=path)


def test_crops_and_the_way_back(content, folder):
  people = read_coco(content, folder, crop=CROP)
  rows = crops_of(people, CROP)
  assert rows["image"].shape == (3, 64, 48, 3)
  back = to_picture(rows["joints"], rows["centre"], rows["scale"], size=CROP.size)
  np.testing.assert_allclose(back[:, :2], people.joints[:, :2], atol=1e-3)
  ratio = 48 / (200 * people.scale[0, 0])
  assert rows["area"][0] == pytest.approx(900 * ratio**2) and rows["length"][0] > 0


def test_a_stream_of_augmented_crops_resumes_bit_for_bit(content, folder):
  people = read_coco(content, folder, crop=CROP)
  transform = CropPerson(CROP, people.skeleton, MPII_AUGMENTATION)
  data = Stream(PersonRows(people), 2, transform=transform)
  one, again = read_batch(data, 0, 5), read_batch(data, 0, 5)
  other = read_batch(data, 1, 5)
  assert one["image"].shape == (2, 64, 48, 3) and one["joints"].dtype == np.float32
  for name, values in one.items():
    np.testing.assert_array_equal(values, again[name])
  assert not np.array_equal(one["joints"], other["joints"])


def test_wide_crops_hold_the_same_person_and_fit_into_tfds_files(content, folder, tmp_path):
  pytest.importorskip("tensorflow_datasets")
  content["images"][0]["file_name"] = "c.png"
  people = read_coco(content, folder, crop=CROP)
  wide = WideCrops(PersonRows(people), side=96)
  direct, through = (CropPerson(CROP, people.skeleton)(rows[1]) for rows in (PersonRows(people), wide))
  np.testing.assert_allclose(through["joints"], direct["joints"], atol=1e-3)
  at = write_rows("birds", {"train": wide}, data_dir=tmp_path)
  stored = open_rows(at, "train")
  assert len(stored) == 3
  for name, values in wide[2].items():
    np.testing.assert_array_equal(stored[2][name], values)
  data = Stream(stored, 2, transform=CropPerson(CROP, people.skeleton, MPII_AUGMENTATION))
  assert read_batch(data, 0, 0)["image"].shape == (2, 64, 48, 3)


def test_people_are_split_by_picture(content, folder):
  content["annotations"] += [_person(4), _person(5, 2)]
  people = read_coco(content, folder, crop=CROP)
  train, test = split_people(people, held_out=1)
  assert len(train.files) + len(test.files) == 5 and not set(train.files) & set(test.files)
  assert test.joints.shape == (len(test.files), 3, 2)


def _mpii(**changes):
  joints = (np.arange(32.0).reshape(16, 2) + 11).tolist()
  return {
    "joints": joints,
    "joints_vis": [1] * 16,
    "center": [41.0, 31.0],
    "scale": 0.2,
    "image": "a.png",
    **changes,
  }


def test_mpii_counts_from_1_and_grows_the_box(folder, tmp_path):
  path = tmp_path / "mpii.json"
  path.write_text(json.dumps([_mpii(), _mpii(joints_vis=[0] * 16)]))
  people = read_mpii(path, folder, crop=Crop((64, 64)))
  assert people.left_out == {"no labelled keypoint": 1}
  np.testing.assert_allclose(people.joints[0, 0], [10, 11])
  np.testing.assert_allclose(people.centre[0], [40, 30 + 3])
  np.testing.assert_allclose(people.scale[0], [0.25, 0.25])
  np.testing.assert_allclose(people.boxes[0], [20, 13, 40, 40])
  for changes, message in (
    (dict(joints=[[1, 2]] * 17), r"row 0 has joints \(17, 2\): MPII has 16 keypoints"),
    (dict(scale=0), "row 0 has scale 0.0: it must be above 0"),
    (dict(scale=None), "row 0, scale is None: give a number"),
    (dict(center=[float("nan"), 3]), "row 0: center and labelled joints are x and y"),
    (dict(joints=[[float("nan"), 2]] * 16), "row 0: center and labelled joints are x and y"),
    (dict(joints=[[1, "a"]] * 16), r"row 0, joints is .*: give numbers"),
  ):
    path.write_text(json.dumps([_mpii(**changes)]))
    with pytest.raises(ValueError, match=message):
      read_mpii(path, folder, crop=CROP)
  path.write_text(json.dumps([{"joints": []}]))
  with pytest.raises(ValueError, match="row 0 has not joints, joints_vis, center, scale and image"):
    read_mpii(path, folder, crop=CROP)


@pytest.mark.slow
def test_prepare_data_writes_people(content, folder, tmp_path):
  path = tmp_path / "birds.json"
  content["annotations"].append(_person(4, iscrowd=1))
  path.write_text(json.dumps(content))
  script = Path(__file__).parents[2] / "launch" / "prepare_data.py"
  command = [sys.executable, script, "--dataset=people", f"--data_dir={tmp_path}"]
  files = [f"--annotations={path}", f"--pictures={folder}", "--side=64"]
  done = subprocess.run([*command, *files], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert "left out: 1 persons, crowd" in done.stdout and "people/birds, 3 persons, is in" in done.stdout
  assert open_rows(tmp_path / "people" / "birds" / "1.0.0", "train")[2]["image"].shape == (64, 64, 3)
  refused = subprocess.run(command, capture_output=True, text=True)
  assert refused.returncode == 1 and refused.stderr.startswith("error: people need --annotations=FILE.json")


def test_the_format_is_told_by_the_file(content, folder, tmp_path):
  path = tmp_path / "some.json"
  for what, skeleton in (([_mpii()], "mpii"), (content, "bird")):
    path.write_text("\ufeff" + json.dumps(what))
    assert read_people(path, folder, crop=CROP).skeleton.name == skeleton
  with pytest.raises(
    FileNotFoundError, match="no file .*nothing.json: give annotations in COCO's or MPII's format"
  ):
    read_people(tmp_path / "nothing.json", folder, crop=CROP)
