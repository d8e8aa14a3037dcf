"""Boxes are drawn where they are."""

import numpy as np

from vita_jax.report.boxes import COLOUR, draw_boxes


def test_a_box_is_a_frame_inside_of_its_corners():
  image = np.zeros((50, 60, 3), np.uint8)
  drawn = draw_boxes(image, np.array([[10.0, 5.0, 40.0, 45.0]]))
  there = (drawn == COLOUR).all(-1)
  rows, columns = np.nonzero(there)
  assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 44, 10, 39)
  assert not there[10:40, 15:35].any() and not image.any()


def test_no_boxes_change_nothing_and_labels_are_drawn():
  image = np.full((40, 40, 3), 7, np.uint8)
  np.testing.assert_array_equal(draw_boxes(image, np.zeros((0, 4))), image)
  boxes = np.array([[2.0, 2, 38, 38]])
  drawn = draw_boxes(image, boxes, ["0.71"])
  assert (drawn[..., 2] > 150).any() and not (draw_boxes(image, boxes)[..., 2] > 150).any()
