"""NanoDet gives the numbers of its publishers' runtime, from the weights that ship."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nn.detectors.run_graph import run

from vita_jax.data.files_tfjs import read_tfjs
from vita_jax.nn import detectors
from vita_jax.nn.detectors import nanodet

pytestmark = pytest.mark.usefixtures("picture")


@pytest.fixture(scope="module")
def detector():
  return detectors.load("nanodet", form="top")


@pytest.fixture(scope="module")
def outputs(detector, picture):
  return jax.jit(nanodet.NanoDet(form="top").apply)(detector.variables, picture)


@pytest.fixture(scope="module")
def reference(fixtures):
  return np.load(fixtures / "nanodet.npz")


def test_scores_and_boxes_are_those_of_tensorflow_js(outputs, reference):
  np.testing.assert_allclose(nanodet.person_scores(outputs)[0], reference["person"], atol=1e-5)
  np.testing.assert_allclose(jax.nn.sigmoid(outputs.classes[0, -169:]), reference["classes_32"], atol=1e-5)
  kept = reference["kept"]
  np.testing.assert_allclose(outputs.sides[0].reshape(-1, 44)[kept], reference["sides"], atol=1e-4)


def test_the_best_box_is_around_the_person(outputs):
  best = int(jnp.argmax(nanodet.person_scores(outputs)[0]))
  expected = [164.7, 166.3, 248.3, 412.5]  # from the distribution over bins, by hand
  np.testing.assert_allclose(nanodet.boxes(outputs)[0, best], expected, atol=0.05)


def test_channels_and_numbers_matter(detector, picture):
  """Wrong ones raise nothing and cost a part of the score, so what is right is held here."""
  best = jax.jit(lambda images: jnp.max(detector.scores(detector.variables, images)))
  right = float(best(picture))
  assert right > 0.82
  for images in (picture[..., ::-1], 255.0 * picture, 2.0 * picture - 1.0):  # B, G, R; [0, 255]; [-1, 1]
    assert float(best(images)) < right - 0.005


def test_scores_have_a_gradient_in_the_image(detector, picture):
  """Against finite differences of the best score along one random direction, in float32."""

  @jax.jit
  def value(images):
    return jnp.max(detector.scores(detector.variables, images))

  along = 0.02 * jax.random.normal(jax.random.key(0), picture.shape)
  got = jnp.vdot(jax.grad(value)(picture), along)
  step = 0.05
  expected = (value(picture + step * along) - value(picture - step * along)) / (2 * step)
  np.testing.assert_allclose(got, expected, rtol=0.05, atol=1e-4)


def test_every_form_gives_the_same_numbers(outputs, detector, picture):
  loop = jax.jit(nanodet.NanoDet(form="loop").apply)(detector.variables, picture)
  np.testing.assert_allclose(loop.classes, outputs.classes, atol=1e-4)


def test_the_module_is_what_the_published_graph_says(detector, picture, outputs, published):
  graph = read_tfjs(published("detectors/nanodet")["nanodet.json"])
  mean, std = (np.asarray(x, np.float32) for x in (nanodet.MEAN, nanodet.STD))
  image = jnp.moveaxis((picture[..., ::-1] * 255 - mean) / std, -1, 1)
  found = jax.jit(functools.partial(run, graph, wanted=graph.outputs))(image)
  person = jnp.concatenate([found[i][0, :, 0] for i in range(3)])
  np.testing.assert_allclose(nanodet.person_scores(outputs)[0], person, atol=1e-5)
  params = nanodet.params_of_graph(graph)
  shipped = detector.variables["params"]
  assert jax.tree.structure(params) == jax.tree.structure(shipped)
  assert jax.tree.all(jax.tree.map(np.array_equal, params, shipped))


def test_another_graph_is_refused(published):
  graph = read_tfjs(published("detectors/movenet_lightning")["movenet-lightning.json"])
  with pytest.raises(ValueError, match="movenet-lightning.json is not NanoDet-g: it has 75 convolutions"):
    nanodet.params_of_graph(graph)
