"""Histogram matching is that of scikit-image for two pictures, and one curve for a whole set."""

from pathlib import Path

import numpy as np
import pytest

from vita_jax.data.histograms import apply_curves, histogram_curves

FILE = Path(__file__).parents[1] / "metrics" / "fixtures" / "pictures.npz"


def test_the_curve_of_two_pictures_is_that_of_scikit_image():
  with np.load(FILE, allow_pickle=False) as file:
    pictures, matched = file["a"], file["matched"]
  curves = histogram_curves(pictures[:1], pictures[1:2])
  found = np.stack([curves[pictures[0, ..., i], i] for i in range(3)], axis=-1)
  np.testing.assert_allclose(found, matched, atol=1e-9)
  np.testing.assert_array_equal(apply_curves(curves, pictures[0]), np.round(matched).astype(np.uint8))


def test_a_set_has_the_curve_of_all_its_pixels():
  rng = np.random.default_rng(0)
  some = [rng.integers(0, 200, (4, n, 3), dtype=np.uint8) for n in (5, 6)]
  other = [rng.integers(50, 256, (7, n, 3), dtype=np.uint8) for n in (3, 9)]
  whole = histogram_curves([np.concatenate(some, axis=1)], [np.concatenate(other, axis=1)])
  np.testing.assert_array_equal(histogram_curves(some, other), whole)


def test_a_recolouring_is_found():
  x = np.random.default_rng(1).integers(0, 128, (32, 32, 3), dtype=np.uint8)
  np.testing.assert_array_equal(apply_curves(histogram_curves([x], [2 * x]), x), 2 * x)
  np.testing.assert_array_equal(apply_curves(histogram_curves([x], [x]), x), x)
  negative = histogram_curves([x], [255 - x])
  assert (np.diff(negative, axis=0) >= 0).all()  # a curve only rises: no negative is found


def test_what_has_no_histogram_is_refused():
  x = np.zeros((2, 2, 3), np.uint8)
  for sources, targets, message in (
    ([], [x], "no pictures"),
    ([x.astype(float)], [x], "must be uint8"),
    ([x], [x[..., :1]], "3 and 1 channels"),
  ):
    with pytest.raises(ValueError, match=message):
      histogram_curves(sources, targets)
  with pytest.raises(ValueError, match="curves of 3 channels take uint8"):
    apply_curves(histogram_curves([x], [x]), x[..., :1])
