"""Photographs of any shape before a detector, and boxes back in their pixels; a detector that is a stub."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.nn.detectors import hog, pictures
from vita_jax.nn.detectors.detector import Detector


def _detect(variables, images):
  """Sees red: one box, with the mean red of the picture as its score, and one of score 0.2 around all."""
  red = images[..., 0] > 0.9
  rows, columns = jnp.any(red[0], axis=1), jnp.any(red[0], axis=0)
  low, high = (jnp.argmax(columns), jnp.argmax(rows)), (jnp.argmax(columns[::-1]), jnp.argmax(rows[::-1]))
  box = jnp.stack([*low, 64 - high[0], 64 - high[1]]).astype(jnp.float32)
  scores = jnp.stack([jnp.float32(0.9), jnp.float32(0.2)])
  return scores[None], jnp.stack([box, jnp.array([-9.0, -9.0, 99.0, 99.0])])[None]


STUB = Detector("stub", 64, {}, jax.tree_util.Partial(lambda v, x: _detect(v, x)[0]), _detect)


@pytest.mark.parametrize(("height", "width"), [(128, 64), (32, 96), (64, 64)])
def test_boxes_come_back_in_pixels_of_the_picture(height, width):
  image = np.zeros((height, width, 3), np.uint8)
  image[8:24, 16:48] = (255, 0, 0)
  best, found = pictures.finder(STUB, threshold=0.1)(image)
  assert best == pytest.approx(0.9)
  np.testing.assert_allclose(found.scores, [0.9, 0.2], rtol=1e-6)
  np.testing.assert_allclose(found.boxes[0], [16, 8, 48, 24], atol=2.1)  # resized by up to 2
  np.testing.assert_allclose(found.boxes[1], [0, 0, width, height])  # cut at the border


def test_the_threshold_counts_and_what_is_below_is_left_out():
  find = pictures.finder(STUB, threshold=0.9)
  assert len(find(np.full((64, 64, 3), 255, np.uint8))[1].scores) == 1
  best, found = pictures.finder(STUB, threshold=0.95)(np.full((64, 64, 3), 255, np.uint8))
  assert best == pytest.approx(0.9) and found.boxes.shape == (0, 4) and found.scores.shape == (0,)


def test_a_picture_fits_with_grey_beside_it():
  fitted = pictures.fit(np.full((10, 40, 3), 255, np.uint8), 20)
  assert fitted.image.shape == (20, 20, 3) and fitted.scale == 0.5
  np.testing.assert_array_equal(fitted.image[7:12], 1.0)
  np.testing.assert_allclose(fitted.image[[0, 6, 12, 19]], pictures.GREY / 255, rtol=1e-6)
  assert pictures.fit(np.zeros((1, 1000, 3), np.uint8), 32).image.shape == (32, 32, 3)


def test_hog_says_what_it_needs(monkeypatch):
  monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
  with pytest.raises(ImportError, match=r"needs OpenCV 4: pip install 'vita_jax\[hog\]'"):
    hog.finder(threshold=0.5)


def test_hog_sees_the_body(picture):
  cv2 = pytest.importorskip("cv2", reason="the extra `hog` is not installed")
  if not hasattr(cv2, "HOGDescriptor"):
    pytest.skip("OpenCV 5 has no HOGDescriptor")
  image = np.asarray(picture[0] * 255).round().astype(np.uint8)
  best, found = hog.finder(threshold=0.5)(image)
  assert best > 0.8 and found.boxes.shape == (len(found.scores), 4)
  x0, y0, x1, y1 = found.boxes[0]
  assert x0 < 206 < x1 and y0 < 290 < y1
  assert hog.finder(threshold=99.0)(image)[1].boxes.shape == (0, 4)
