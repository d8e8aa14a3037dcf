"""MoveNet gives the poses of its publishers' runtime; its map of centres sees the person."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nn.detectors.run_graph import run

from vita_jax.data.files_tfjs import read_tfjs
from vita_jax.data.sources import data_file
from vita_jax.metrics import box_iou
from vita_jax.nn import detectors
from vita_jax.nn.detectors import movenet
from vita_jax.nn.resize import resize

SIZES = {"movenet_lightning": 192, "movenet_thunder": 256}


@functools.cache
def apply(size):
  return jax.jit(movenet.MoveNet(movenet.WIDTHS[size], form="top").apply)


def test_keypoints_are_those_of_tensorflow_js(published):
  published("detectors/movenet_lightning")
  if (file := data_file("detector/movenet_parity.npz")) is None:
    pytest.skip("no detector/movenet_parity.npz under $VITA_DATA_DIR")
  reference = np.load(file)
  detector = detectors.load("movenet_lightning", form="top")
  images = jnp.asarray(reference["image_rgb_u8"], jnp.float32)[None] / 255.0
  outputs = apply(192)(detector.variables, images)
  np.testing.assert_allclose(movenet.keypoints(outputs)[0], reference["keypoints_yxs"], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["movenet_lightning", "movenet_thunder"])
def test_every_head_is_what_the_published_graph_says(name, picture, published):
  file = f"{name.replace('_', '-')}.json"
  graph = read_tfjs(published(f"detectors/{name}")[file])
  size = SIZES[name]
  image = jnp.round(resize(picture, (size, size)) * 255.0)  # the graph takes whole numbers
  heads = [f"StatefulPartitionedCall/{head}" for head in ("center_0/conv2d_4", "kpt_heatmap_0/conv2d_5")]
  heads += [f"StatefulPartitionedCall/{head}" for head in ("kpt_regress_0/conv2d_6", "kpt_offset_0/conv2d_7")]
  wanted = [f"{head}/BiasAdd" for head in heads]
  expected = jax.jit(functools.partial(run, graph, wanted=wanted))(image)
  detector = detectors.load(name, form="top")
  outputs = apply(size)(detector.variables, image / 255.0)
  # Logits, and then keypoints that are up to 60 places away.
  for got, value, tolerance in zip(outputs, expected, (1e-4, 1e-4, 1e-3, 1e-3), strict=True):
    np.testing.assert_allclose(got.reshape(value.shape), value, rtol=1e-5, atol=tolerance)

  scores, boxes = movenet.person_scores(outputs), movenet.boxes(outputs)
  assert scores.shape == (1, (size // 4) ** 2) and boxes.shape == (*scores.shape, 4)
  best = int(jnp.argmax(scores[0]))
  assert float(scores[0, best]) > 0.8
  person = np.array([164.7, 166.3, 248.3, 412.5]) * size / 416  # NanoDet's box
  assert float(box_iou(boxes[0, best][None], person[None])[0, 0]) > 0.6


def test_a_graph_with_foreign_names_is_refused(published):
  graph = read_tfjs(published("detectors/nanodet")["nanodet.json"])
  with pytest.raises(ValueError, match="is not MoveNet: it has a convolution 'PartitionedCall/convolution'"):
    movenet.params_of_graph(graph)
