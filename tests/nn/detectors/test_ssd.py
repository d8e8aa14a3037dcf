"""SSD-MobileNetV2 gives the numbers of LiteRT; its anchors and boxes are those of the paper."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nn.detectors.run_graph import run

from vita_jax.data.files_tflite import read_tflite
from vita_jax.metrics import box_iou
from vita_jax.nn import detectors
from vita_jax.nn.detectors import ssd

FILE = "ssd_mobilenetv2_oidv4_fp16.tflite"


@pytest.fixture(scope="module")
def image(picture):
  return picture[:, 116:416, 58:358]


@pytest.fixture(scope="module")
def outputs(image, published):
  published("detectors/ssd_mobilenetv2")
  detector = detectors.load("ssd_mobilenetv2", form="top")
  return jax.jit(ssd.SSDMobileNetV2(form="top").apply)(detector.variables, image)


def test_logits_are_those_of_litert(outputs, fixtures):
  reference = np.load(fixtures / "ssd.npz")
  np.testing.assert_allclose(outputs.classes[0], reference["classes"], atol=1e-4)
  np.testing.assert_allclose(outputs.sides[0], reference["sides"], atol=1e-4)
  expected = jax.nn.sigmoid(reference["classes"][:, ssd.PERSON])
  np.testing.assert_allclose(ssd.person_scores(outputs)[0], expected, atol=1e-5)


@pytest.mark.slow
def test_the_module_is_what_the_published_graph_says(image, outputs, published):
  graph = read_tflite(published("detectors/ssd_mobilenetv2")[FILE])
  sides, classes = jax.jit(functools.partial(run, graph, wanted=graph.outputs))(2.0 * image - 1.0)
  np.testing.assert_allclose(outputs.sides, sides, atol=1e-4)
  np.testing.assert_allclose(outputs.classes, classes, atol=1e-4)


def test_the_best_box_is_around_the_person(outputs):
  scores = ssd.person_scores(outputs)[0]
  best = int(jnp.argmax(scores))
  person = np.array([164.7 - 58, 166.3 - 116, 248.3 - 58, 412.5 - 116])  # NanoDet's box
  assert float(scores[best]) > 0.3
  assert float(box_iou(ssd.boxes(outputs)[0, best][None], person[None])[0, 0]) > 0.75


def test_anchors_are_those_of_the_paper():
  table = ssd.anchors()
  assert table.shape == (1917, 4)
  # y, x, height, width: the three of the first place, and those of the only place of the coarsest map
  half = 0.5 / 19
  root = 2.0**0.5
  expected = [
    [half, half, 0.1, 0.1],
    [half, half, 0.2 / root, 0.2 * root],
    [half, half, 0.2 * root, 0.2 / root],
  ]
  np.testing.assert_allclose(table[:3], expected, rtol=1e-6)
  np.testing.assert_allclose(table[-6], [0.5, 0.5, 0.95, 0.95], rtol=1e-6)
  np.testing.assert_allclose(table[-1], [0.5, 0.5, 0.95**0.5, 0.95**0.5], rtol=1e-6)
  np.testing.assert_allclose(table[3 * 361, 2:], [0.35, 0.35], rtol=1e-6)


def test_boxes_of_zeros_are_the_anchors_and_moves_are_by_the_variances():
  sides = jnp.zeros((1, 1917, 4)).at[0, -1].set(jnp.array([1.0, 0.0, 5 * np.log(2.0), 0.0]))
  found = ssd.boxes(ssd.Outputs(jnp.zeros((1, 1917, 24)), sides))[0]
  y, x, h, w = ssd.anchors()[0]
  expected = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
  np.testing.assert_allclose(found[0], 300 * expected, rtol=1e-5)
  s = 0.95**0.5
  middle = 0.5 + s / 10
  expected = [0.5 - s / 2, middle - s, 0.5 + s / 2, middle + s]
  np.testing.assert_allclose(found[-1], 300 * np.array(expected), rtol=1e-4, atol=1e-2)


def test_another_model_is_refused(published):
  from vita_jax.data.files_tfjs import read_tfjs

  graph = read_tfjs(published("detectors/nanodet")["nanodet.json"])
  with pytest.raises(ValueError, match="is not this SSD-MobileNetV2: it has 34 convolutions, not 72"):
    ssd.params_of_graph(graph)
