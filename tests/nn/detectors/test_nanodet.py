"""NanoDet gives the numbers of its publishers' runtime, from the weights that ship."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nn.detectors.run_graph import run

from vita_jax.data import read_image
from vita_jax.data.files_tfjs import read_tfjs
from vita_jax.data.sources import data_dir
from vita_jax.nn import detectors
from vita_jax.nn.detectors import nanodet
from vita_jax.nn.detectors.pictures import fit


@pytest.fixture(scope="module")
def detector():
  return detectors.load("nanodet", form="top")


@pytest.fixture(scope="module")
def best(detector):
  """One compiled program: images [1, 416, 416, 3] -> ((best score, outputs), its gradient in the images)."""

  def value(images):
    outputs = nanodet.NanoDet(form="top").apply(detector.variables, images)
    return jnp.max(nanodet.person_scores(outputs)), outputs

  return jax.jit(jax.value_and_grad(value, has_aux=True))


@pytest.fixture(scope="module")
def outputs(best, picture):
  return best(picture)[0][1]


def test_scores_and_boxes_are_those_of_tensorflow_js(outputs, fixtures):
  reference = np.load(fixtures / "nanodet.npz")
  np.testing.assert_allclose(nanodet.person_scores(outputs)[0], reference["person"], atol=1e-5)
  np.testing.assert_allclose(jax.nn.sigmoid(outputs.classes[0, -169:]), reference["classes_32"], atol=1e-5)
  sides = outputs.sides[0].reshape(-1, 44)[reference["kept"]]
  np.testing.assert_allclose(sides, reference["sides"], atol=1e-4)


def test_the_best_box_is_around_the_person(outputs):
  best = int(jnp.argmax(nanodet.person_scores(outputs)[0]))
  expected = [164.7, 166.3, 248.3, 412.5]  # by hand, from TensorFlow.js's logits
  np.testing.assert_allclose(nanodet.boxes(outputs)[0, best], expected, atol=0.05)


def test_values_must_be_from_0_to_1(best, picture):
  """Others raise nothing: what is right is held here."""
  assert float(best(picture)[0][0]) > 0.82
  assert float(best(255.0 * picture)[0][0]) < 0.6
  assert float(best(picture / 255.0)[0][0]) < 0.1


def test_people_on_photographs_are_seen_and_channels_matter(best):
  folder = data_dir()
  if folder is None or not (folder / "pose").is_dir():
    pytest.skip("no pose/coco and pose/mpii under $VITA_DATA_DIR")
  files = sorted((folder / "pose").glob("*/*.jpg"))
  images = [fit(read_image(file), 416).image[None] for file in files]
  right = np.mean([best(image)[0][0] for image in images])
  swapped = np.mean([best(image[..., ::-1])[0][0] for image in images])
  assert len(files) == 9 and right > 0.70 and swapped < right - 0.02


def test_the_gradient_is_the_slope_along_itself(best, picture):
  (_, _), gradient = best(picture)
  along = gradient / jnp.linalg.norm(gradient)
  step = 0.005  # there is a kink in every leaky ReLU
  slope = (best(picture + step * along)[0][0] - best(picture - step * along)[0][0]) / (2 * step)
  np.testing.assert_allclose(jnp.linalg.norm(gradient), slope, rtol=0.1)


@pytest.mark.slow
def test_every_form_gives_the_same_numbers(outputs, detector, picture):
  loop = jax.jit(nanodet.NanoDet(form="loop").apply)(detector.variables, picture)
  np.testing.assert_allclose(loop.classes, outputs.classes, atol=1e-4)


@pytest.mark.slow
def test_the_module_is_what_the_published_graph_says(detector, picture, outputs, published):
  graph = read_tfjs(published("detectors/nanodet")["nanodet.json"])
  mean, std = (np.asarray(x, np.float32) for x in (nanodet.MEAN, nanodet.STD))
  image = jnp.moveaxis((picture[..., ::-1] * 255 - mean) / std, -1, 1)
  found = jax.jit(functools.partial(run, graph, wanted=graph.outputs))(image)
  classes = jnp.concatenate(found[:3], axis=1)
  np.testing.assert_allclose(jax.nn.sigmoid(outputs.classes), classes, atol=1e-5)
  sides = jnp.concatenate(found[3:], axis=1)
  np.testing.assert_allclose(outputs.sides.reshape(sides.shape), sides, atol=1e-4)
  params, shipped = nanodet.params_of_graph(graph), detector.variables["params"]
  assert jax.tree.structure(params) == jax.tree.structure(shipped)
  assert jax.tree.all(jax.tree.map(np.array_equal, params, shipped))


def test_another_graph_is_refused(published):
  graph = read_tfjs(published("detectors/movenet_lightning")["movenet-lightning.json"])
  with pytest.raises(
    ValueError, match="movenet-lightning.json is not NanoDet-g: it has 74 convolutions, not 34"
  ):
    nanodet.params_of_graph(graph)
