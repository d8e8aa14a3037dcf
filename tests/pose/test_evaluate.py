"""Evaluation: COCO's AP against pycocotools' golden numbers, suppression, PCKh, lengths."""

import importlib.util
import json

import numpy as np
import pytest

from vita_jax import pose
from vita_jax.data.sources import data_file
from vita_jax.metrics.keypoints import oks
from vita_jax.pose import evaluate
from vita_jax.pose.skeletons import COCO, OPENFIELD, skeleton

needs_pycocotools = pytest.mark.skipif(
  importlib.util.find_spec("pycocotools") is None, reason="pycocotools is not installed (extra: pose)"
)


@pytest.fixture(scope="module")
def annotations():
  if (file := data_file("pose/coco/test_coco.json")) is None:
    pytest.skip("no pose/coco/test_coco.json under $VITA_DATA_DIR")
  return json.loads(file.read_text())


def _people(annotations):
  people = [a for a in annotations["annotations"] if a["num_keypoints"]]
  points = np.array([a["keypoints"] for a in people], float).reshape(-1, 17, 3)
  return people, points


def _results(people, joints, scores=1.0):
  ids = [a["image_id"] for a in people]
  ones = np.ones(joints.shape[:2])
  return pose.coco_results(ids, joints, ones, np.broadcast_to(scores, len(ids)))


def _ap(annotations, results):
  images = [image["id"] for image in annotations["images"]]
  return pose.coco_ap(annotations, results, skeleton=COCO, image_ids=images)


@needs_pycocotools
def test_right_poses_have_every_number_1(annotations):
  people, points = _people(annotations)
  assert len(people) == 12
  assert set(_ap(annotations, _results(people, points[..., :2])).values()) == {1.0}


@needs_pycocotools
@pytest.mark.parametrize(
  ("pixels", "expected"),
  [
    (5, dict(AP=0.6790, AP50=1.0, AP75=0.6551, AP_M=0.4695, AP_L=0.8268, AR=0.7417)),
    (2, dict(AP=0.9532)),
    (10, dict(AP=0.2833)),
    (20, dict(AP=0.0318)),
  ],
)
def test_the_golden_shifts(annotations, pixels, expected):
  people, points = _people(annotations)
  found = _ap(annotations, _results(people, points[..., :2] + [pixels, 0]))
  assert {name: found[name] for name in expected} == pytest.approx(expected, abs=5e-5)


@needs_pycocotools
@pytest.mark.parametrize(("share", "expected"), [(0.05, 0.8056), (0.1, 0.3626)])
def test_the_golden_shifts_by_a_share_of_the_size(annotations, share, expected):
  people, points = _people(annotations)
  shift = share * np.sqrt([a["area"] for a in people])
  joints = points[..., :2] + np.stack([shift, 0 * shift], axis=-1)[:, None]
  assert _ap(annotations, _results(people, joints))["AP"] == pytest.approx(expected, abs=5e-5)


@needs_pycocotools
def test_missed_persons_count(annotations):
  people, points = _people(annotations)
  found = _ap(annotations, _results(people, points[..., :2])[3:])
  assert (found["AP"], found["AR"]) == pytest.approx((0.7525, 0.75), abs=5e-5)
  nothing = pose.coco_ap(annotations, [], skeleton=COCO)
  assert nothing["AP"] == 0 and set(nothing) == set(evaluate.STATS)


@needs_pycocotools
def test_our_similarity_is_pycocotools(annotations, capsys):
  """On random perturbations of the four pictures: AP at one threshold is whether OKS reaches it."""
  from pycocotools.coco import COCO as Annotations
  from pycocotools.cocoeval import COCOeval

  people, points = _people(annotations)
  rng = np.random.default_rng(0)
  joints = points[..., :2] + rng.normal(0, 8, (12, 17, 2))
  known = Annotations()
  known.dataset = annotations
  known.createIndex()
  found = known.loadRes(_results(people, joints))
  evaluation = COCOeval(known, found, "keypoints")
  evaluation.evaluate()
  ours = {
    a["id"]: oks(joints, points[i, :, :2], points[i, :, 2], np.array(a["area"]), COCO.sigmas)
    for i, a in enumerate(people)
  }
  compared = 0
  for (image, _), table in evaluation.ious.items():
    rows = [i for i, a in enumerate(people) if a["image_id"] == image]
    truths = [a["id"] for a in annotations["annotations"] if a["image_id"] == image]
    for column, identity in enumerate(truths):
      if identity in ours:
        np.testing.assert_allclose(table[:, column], ours[identity][rows], rtol=1e-6)
        compared += len(rows)
  assert compared == 2 * 2 + 1 + 4 * 4 + 5 * 5
  capsys.readouterr()


@needs_pycocotools
def test_any_skeleton_in_cocos_format():
  rng = np.random.default_rng(0)
  joints = rng.uniform(10, 100, (6, 4, 2))
  visible, boxes = np.full((6, 4), 2.0), np.tile([5.0, 5, 100, 100], (6, 1))
  truth = pose.evaluate.coco_truth(joints, visible, np.full(6, 5300.0), boxes, OPENFIELD, size=(120, 120))
  assert truth["categories"][0]["keypoints"] == list(OPENFIELD.names) and json.dumps(truth)
  right = pose.coco_results(range(1, 7), joints, np.ones((6, 4)), np.ones(6))
  assert pose.coco_ap(truth, right, skeleton=OPENFIELD)["AP"] == 1
  shifted = pose.coco_results(
    range(1, 7), joints + [0.05 * 2 * np.sqrt(5300), 0], np.ones((6, 4)), np.ones(6)
  )
  found = pose.coco_ap(truth, shifted, skeleton=OPENFIELD)  # OKS is exp(-1/2) = .607
  assert found["AP"] == pytest.approx(0.3) and found["AP50"] == 1 and found["AP75"] == 0


@needs_pycocotools
def test_results_are_of_the_files_own_category_whatever_its_number():
  joints, boxes = np.random.default_rng(0).uniform(10, 90, (3, 4, 2)), np.tile([5.0, 5, 100, 100], (3, 1))
  truth = pose.coco_truth(joints, np.full((3, 4), 2), np.full(3, 5300.0), boxes, OPENFIELD, size=(120, 120))
  truth["categories"][0]["id"] = 3
  truth["categories"].append({"id": 1, "name": "cage"})  # without keypoints: nothing of poses
  truth["annotations"] = [{**row, "category_id": 3} for row in truth["annotations"]]
  truth["annotations"].append({"id": 9, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81})
  results = pose.coco_results(range(1, 4), joints, np.ones((3, 4)), np.ones(3))
  assert pose.coco_ap(truth, results, skeleton=OPENFIELD)["AP"] == 1


@needs_pycocotools
def test_what_a_file_does_not_say_is_completed():
  joints, boxes = np.random.default_rng(0).uniform(10, 90, (3, 4, 2)), np.tile([5.0, 5, 100, 100], (3, 1))
  truth = pose.coco_truth(joints, np.full((3, 4), 2), np.full(3, 5300.0), boxes, OPENFIELD, size=(120, 120))
  results = pose.coco_results(range(1, 4), joints + 4, np.ones((3, 4)), np.ones(3))
  whole = pose.coco_ap(truth, results, skeleton=OPENFIELD)
  for row in truth["annotations"]:
    del row["iscrowd"], row["num_keypoints"], row["area"]
  assert pose.coco_ap(truth, results, skeleton=OPENFIELD) == whole and 0 < whole["AP"] < 1


@needs_pycocotools
def test_results_that_do_not_fit_are_refused(annotations):
  people, points = _people(annotations)
  results = _results(people, points[..., :2])
  with pytest.raises(ValueError, match="a result is of image 7, which the annotations do not have"):
    _ap(annotations, [{**results[0], "image_id": 7}])
  with pytest.raises(
    ValueError, match="has 51 numbers: skeleton 'openfield' has 4 keypoints, 3 numbers each"
  ):
    pose.coco_ap(annotations, results, skeleton=OPENFIELD)


def test_without_pycocotools_one_line_says_what_to_install(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(ImportError, match=r"COCO's AP needs pycocotools: pip install 'vita_jax\[pose\]'"):
    pose.coco_ap({"images": []}, [], skeleton=COCO)


def test_suppression_keeps_the_better_of_two_alike_in_one_picture():
  pose_a = np.random.default_rng(0).uniform(0, 100, (17, 2))
  joints = np.stack([pose_a, pose_a + 1, pose_a + 40, pose_a + 1])
  scores, areas = np.array([0.5, 0.9, 0.1, 0.2]), np.full(4, 1e4)
  assert pose.oks_nms(joints, scores, areas, COCO, image_ids=[1, 1, 1, 2]).tolist() == [1, 2, 3]
  assert pose.oks_nms(joints, scores, areas, COCO).tolist() == [1, 2]
  # The similarity is taken with the mean of the areas.
  alike = oks(pose_a + 10, pose_a, np.ones(17), np.array(5.5e3), COCO.sigmas)
  two = dict(
    joints=np.stack([pose_a, pose_a + 10]), scores=scores[:2], areas=np.array([1e3, 1e4]), skeleton=COCO
  )
  assert len(pose.oks_nms(**two, threshold=alike + 1e-6)) == 2
  assert pose.oks_nms(**two, threshold=alike - 1e-6).tolist() == [1]
  assert pose.oks_nms(joints[:0], scores[:0], areas[:0], COCO).tolist() == []


def test_the_golden_pckh():
  truth, heads = np.zeros((1, 16, 2)), np.array([100.0])
  for pixels, expected in ((30.0, 100.0), (30.1, 0.0)):
    found = pose.pckh(truth + [pixels, 0], truth, np.ones((1, 16)), heads)
    assert found["mean"] == found["wrist"] == expected
  assert list(found) == [
    *(
      "ankle",
      "knee",
      "hip",
      "pelvis",
      "thorax",
      "upper_neck",
      "head_top",
      "wrist",
      "elbow",
      "shoulder",
      "mean",
    )
  ]


def test_pelvis_and_thorax_do_not_count_and_sides_count_together():
  truth, heads = np.zeros((2, 16, 2)), np.full(2, 100.0)
  joints = truth.copy()
  joints[:, 6:8] = 500
  joints[0, 0] = 500  # one of four ankles
  visible = np.ones((2, 16))
  visible[1, 5] = 0
  found = pose.pckh(joints, truth, visible, heads)
  assert found["pelvis"] == 0 and found["ankle"] == pytest.approx(100 * 2 / 3)
  assert found["mean"] == pytest.approx(100 * 26 / 27)
  assert np.isnan(pose.pckh(joints, truth, visible * 0, heads)["mean"])
  with pytest.raises(ValueError, match="a head box has no size"):
    pose.pckh(joints, truth, visible, np.array([100.0, 0]))


def test_lengths():
  truth = np.zeros((2, 17, 2))
  truth[:, [5, 6]] = [[10, 0], [20, 0]]
  truth[:, [11, 12]] = [[12, 40], [18, 40]]
  visible = np.ones((2, 17))
  visible[1, 12] = 0
  assert evaluate.torso_lengths(truth, visible, COCO).tolist() == [40, 0]
  boxes = np.array([[0.0, 0, 30, 50], [0, 0, 60, 50]])
  options = dict(truth=truth, visible=visible, boxes=boxes, skeleton=COCO)
  assert evaluate.lengths_of("box", **options).tolist() == [50, 60]
  assert evaluate.lengths_of("torso", **options).tolist() == [40, 0]
  with pytest.raises(
    ValueError, match="skeleton 'stick' has no torso: give one, or take the length of the box"
  ):
    evaluate.torso_lengths(truth, visible, skeleton("stick", ["a", "b"]))
