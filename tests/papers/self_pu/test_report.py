"""What the results table shows beside the accuracies."""

import numpy as np

from vita_jax.papers.self_pu.report import purity_table
from vita_jax.report import band_figure


def _metrics(**values):
  return {name: {"mean": value} for name, value in values.items()}


def test_purities_are_shown_from_the_first_selection_to_the_last():
  one = {"purity_positive_1_first": 0.9, "purity_positive_1": 0.951, "trusted_rows_1": 40.0}
  one |= {"purity_negative_1_first": 0.8, "purity_negative_1": 0.7}
  text = purity_table({"nnPU": _metrics(test_accuracy=0.5), "Self-PU": _metrics(**one)})
  assert "| Self-PU | 1 | 40 | 90.0 -> 95.1 | 80.0 -> 70.0 |" in text
  assert "nnPU" not in text and purity_table({"nnPU": _metrics(test_accuracy=0.5)}) == ""


def test_the_prior_curve_shows_means_in_percent_and_the_true_prior():
  labels = {"xlabel": "assumed prior", "ylabel": "test accuracy, %", "mark_label": "true prior"}
  axes = band_figure({"nnPU": {0.4: [0.7, 0.8], 0.5: [0.9, 0.9]}}, mark=0.5, **labels).axes[0]
  curve, line = axes.lines
  np.testing.assert_allclose(curve.get_xydata(), [[0.4, 75.0], [0.5, 90.0]])
  assert line.get_xdata()[0] == 0.5
