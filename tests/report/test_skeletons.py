"""Drawn poses: limbs where both ends are, left and right in their colours."""

import numpy as np
import pytest

from vita_jax.pose.skeletons import COCO, OPENFIELD, skeleton
from vita_jax.report.skeletons import LEFT, RIGHT, draw_skeletons, draw_worst, sheet

MOUSE = np.array([[30.0, 5], [20, 15], [40, 15], [30, 40]])


def _colours(image):
  return {tuple(int(v) for v in c) for c in image.reshape(-1, 3)}


def test_limbs_are_drawn_between_keypoints():
  blank = np.zeros((50, 60, 3), np.uint8)
  found = draw_skeletons(blank, MOUSE, OPENFIELD)
  assert found.shape == blank.shape and not blank.any()
  assert tuple(found[10, 25]) == LEFT and tuple(found[10, 35]) == RIGHT
  assert not found[:, 50:].any()


def test_keypoints_below_the_threshold_are_left_out():
  blank = np.zeros((50, 60, 3), np.uint8)
  found = draw_skeletons(blank, MOUSE, OPENFIELD, scores=[0.9, 0.1, 0.9, 0.9], threshold=0.5)
  assert LEFT not in _colours(found) and RIGHT in _colours(found)
  nowhere = np.full((2, 4, 2), np.nan)
  assert not draw_skeletons(blank, nowhere, OPENFIELD).any()


def test_enlarged_pictures_keep_the_places():
  found = draw_skeletons(np.zeros((50, 60, 3), np.uint8), MOUSE[None], OPENFIELD, scale=4)
  assert found.shape == (200, 240, 3)
  assert found[22, 122].any() and LEFT in _colours(found[41:44, 101:104])


def test_another_skeleton_is_refused():
  with pytest.raises(ValueError, match=r"joints are \(4, 2\): skeleton 'coco' has 17 keypoints of 2 numbers"):
    draw_skeletons(np.zeros((5, 5, 3), np.uint8), MOUSE, COCO)
  with pytest.raises(ValueError, match="a sheet needs at least one picture"):
    sheet([])


def test_the_worst_poses_are_drawn_first():
  joints = np.full((3, 2, 2), 8.0)
  rows = {"image": np.zeros((3, 16, 16, 3), np.uint8), "joints": joints, "visible": np.ones((3, 2))}
  rows |= {
    "area": np.full(3, 100.0),
    "image": np.arange(3, dtype=np.uint8)[:, None, None, None] + rows["image"],
  }
  found = joints + np.array([1.0, 3.0, 0.0])[:, None, None]
  figure = draw_worst(rows, found, skeleton("two", ["a", "b"]), shown=2)
  shown = np.asarray(figure.axes[0].images[0].get_array())
  assert shown.shape == (2 + 64 + 2, 2 * (32 + 2) + 2, 3)
  assert shown[2, 2].tolist() == [1, 1, 1] and shown[2, 36].tolist() == [0, 0, 0]  # row 1, then row 0
