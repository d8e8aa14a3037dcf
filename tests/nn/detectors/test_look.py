"""A detector at work on pictures of another size, in chunks, and the threshold for its scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.nn.detectors import Detector, fitted, load_to_look, look, threshold_of


def test_pictures_are_resized_only_where_a_detector_needs_it():
  images = jax.random.uniform(jax.random.key(0), (1, 8, 8, 3))
  assert fitted(images, 8) is images
  small = fitted(images, 4)
  assert small.shape == (1, 4, 4, 3)
  np.testing.assert_allclose(fitted(jnp.ones((1, 8, 8, 3)), 5), 1.0, atol=1e-6)


def _scores(variables, images):
  return images.mean(axis=(2, 3)) * variables


def _detect(variables, images):
  """A box for each row of the picture, as sure as the row is bright."""
  n, size = images.shape[:2]
  rows = jnp.arange(size, dtype=jnp.float32)
  boxes = jnp.stack([jnp.zeros(size), rows, jnp.full(size, float(size)), rows + 1], axis=-1)
  return _scores(variables, images), jnp.broadcast_to(boxes, (n, size, 4))


def test_pictures_of_any_size_and_number_are_seen_in_their_own_pixels():
  detector = Detector("rows", 4, jnp.float32(0.5), _scores, _detect)
  pictures = np.zeros((5, 8, 8, 3), np.float32)
  for i in range(5):
    pictures[i, 2:4] = 0.2 * i  # the second row of four
  seen = look(detector, pictures, boxes=2, at_once=2)
  assert seen.boxes.shape == (5, 2, 4) and (np.diff(seen.score) > 0).all()
  np.testing.assert_allclose(seen.boxes[4, 0], [0, 2, 8, 4])


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 0.5])
def test_a_threshold_lets_no_more_photographs_alarm_than_it_may(share):
  scores = np.random.default_rng(0).random(40)
  threshold = threshold_of(scores, share)
  assert (scores > threshold).sum() == int(share * 40)
  assert threshold in scores


def test_a_detector_of_the_host_sees_the_same_way(monkeypatch):
  from vita_jax.metrics.detection import Found
  from vita_jax.nn.detectors import hog

  def finder(*, threshold):
    return lambda image: (2.0, Found(np.array([2.0, 1.0]), np.array([[0.0, 0, 4, 8], [1, 1, 2, 2]])))

  monkeypatch.setattr(hog, "finder", finder)
  detector = load_to_look("hog")
  seen = look(detector, np.zeros((3, 8, 8, 3)), boxes=4)
  assert seen.scores.tolist() == [[2.0, 1.0, 0.0, 0.0]] * 3 and seen.boxes[2, 0].tolist() == [0, 0, 4, 8]
  with pytest.raises(ValueError, match="hog has no gradient"):
    detector.scores({}, jnp.zeros((1, 8, 8, 3)))
