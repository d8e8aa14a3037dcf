"""Sheets of segmentations: a colour per class, and none for what has no label."""

import numpy as np

from vita_jax.report.segments import segment_figure


def test_a_sheet_shows_truth_and_prediction_in_one_colour_per_class():
  images = np.zeros((2, 3, 3, 3), np.uint8)
  labels = np.array([[[0, 1, 255]] * 3] * 2)
  predicted = np.where(labels == 255, 1, labels)
  figure = segment_figure(images, labels, predicted, ["sky", "road"])
  titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
  assert titles == ["picture", "label", "predicted"]
  shown = [axis.images[0].get_array() for axis in figure.axes[:3]]  # the first row
  np.testing.assert_array_equal(shown[1][:, :2], shown[2][:, :2])
  assert (shown[1][:, 2] == 255).all() and (shown[2][:, 2] == shown[2][:, 1]).all()
  assert (shown[1][:, 0] != shown[1][:, 1]).any()
  assert [text.get_text() for text in figure.legends[0].texts] == ["sky", "road"]
