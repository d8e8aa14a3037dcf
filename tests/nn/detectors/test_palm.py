"""The palm detector against LiteRT, and what it says of pictures with and without a hand."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.data.sources import data_file
from vita_jax.nn.detectors import palm

FIXTURE = Path(__file__).parents[1] / "fixtures" / "hands.npz"
pytestmark = pytest.mark.skipif(
  data_file("vision/networks/palm_detection_full.tflite") is None,
  reason="the detector is not under $VITA_DATA_DIR",
)


@pytest.fixture(scope="module")
def stored():
  with np.load(FIXTURE, allow_pickle=False) as file:
    return dict(file)


@pytest.fixture(scope="module")
def detector():
  return palm.load_palms(form="top")


def test_the_outputs_are_those_of_the_published_network(detector, stored):
  module, variables = detector
  image = jnp.asarray(stored["image"][None, 16:208, 16:208] / 255.0, jnp.float32)
  found = jax.jit(module.apply)(variables, image)
  np.testing.assert_allclose(found.logits[0], stored["palm_logits"], atol=1e-3)
  np.testing.assert_allclose(found.numbers[0, stored["palm_rows"]], stored["palm_numbers"], atol=1e-3)
  best = int(jnp.argmax(found.logits[0]))
  x0, y0, x1, y1 = palm.palm_boxes(found)[0, best]
  assert (
    palm.palm_scores(found)[0, best] > 0.9 and 20 < x1 - x0 < 192 and 0 < x0 < x1 < 192 and 0 < y0 < y1 < 192
  )
  assert sum(x.size for x in jax.tree.leaves(variables)) == 1_136_248


def test_anchors_are_two_of_stride_8_then_six_of_stride_16():
  table = palm.anchors()
  assert table.shape == (2016, 2)
  np.testing.assert_array_equal(table[[0, 1, 2]], [[4, 4], [4, 4], [12, 4]])
  np.testing.assert_array_equal(table[[1152, 1157, 1158]], [[8, 8], [8, 8], [24, 8]])


@pytest.mark.parametrize("blind", ["best_scores", "presences"])
def test_a_picture_without_a_hand_is_refused_by_name(monkeypatch, stored, blind):
  monkeypatch.setattr(palm, "best_scores", lambda variables, pictures: np.ones(len(pictures)))
  monkeypatch.setattr(palm, "presences", lambda pictures: np.ones(len(pictures)))
  palm.check_hands([stored["image"]] * 2, ["mine.png", "wall.png"])
  monkeypatch.setattr(palm, blind, lambda *args: np.array([1.0, 0.05]))
  with pytest.raises(ValueError, match=r"wall\.png shows no hand: .* 0.05 .* give a picture of one hand"):
    palm.check_hands([stored["image"]] * 2, ["mine.png", "wall.png"])


@pytest.mark.slow
def test_a_hand_is_seen_by_both_networks_and_a_wall_by_neither(stored):
  palm.check_hands([stored["image"]], ["hand.png"])
  wall = np.full((50, 80, 3), 128, np.uint8)
  with pytest.raises(ValueError, match=r"wall\.png shows no hand"):
    palm.check_hands([stored["image"], wall], ["hand.png", "wall.png"])
