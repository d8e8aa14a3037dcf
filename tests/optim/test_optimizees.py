"""The problems: sizes, first losses, and what a minibatch is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.optim.families import FAMILIES
from vita_jax.optim.optimizees import OPTIMIZEES, optimizee

SIZES = {
  "digits_mlp": 1_510,
  "digits_relu": 1_510,
  "digits_deeper": 1_930,
  "digits_conv": 6_186,
  "mnist_mlp": 15_910,
  "mnist_relu": 15_910,
  "mnist_deeper": 16_330,
  "mnist_conv": 18_218,
  "cifar10_conv": 13_706,
  "cifar10_nas": 7_706,
  "mnist_tanh": 15_910,
  "mnist_mlp_by_inputs": 15_910,
  "mnist_relu_by_inputs": 15_910,
  "mnist_tanh_by_inputs": 15_910,
  "mnist_wide": 1_426_410,
  "quadratic": 1_280,
  "far_regression": 9,
}
BY_INPUTS = 1.0  # of a first loss beside chance, where weights are not small
SHAPES = {"digits": (8, 8, 1), "mnist": (28, 28, 1), "cifar10": (32, 32, 3)}


def _images(data, n=64):
  random = np.random.default_rng(0)
  images = random.integers(0, 256, (n, *SHAPES[data]), dtype=np.uint8)
  return {"image": images, "label": random.integers(0, 10, n, dtype=np.int32)}


def test_every_problem_but_the_families_is_in_this_table():
  assert set(OPTIMIZEES) - set(FAMILIES) == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_a_problem_has_the_size_of_the_paper_and_starts_at_chance(name):
  problem = optimizee(name)
  params = problem.init(jax.random.key(0))
  assert sum(x.size for x in jax.tree.leaves(params)) == SIZES[name]
  arrays = _images(problem.data) if problem.data else {}
  loss = jax.jit(problem.loss)(params, problem.sample(arrays, jax.random.key(1), 64))
  assert loss.shape == ()
  if problem.data:
    small = not (name.endswith("by_inputs") or name == "mnist_wide")
    np.testing.assert_allclose(loss, np.log(10.0), atol=0.2 if small else BY_INPUTS)


def test_every_key_draws_another_minibatch_with_replacement():
  arrays = {"image": np.zeros((9, 8, 8, 1), np.uint8), "label": np.arange(9, dtype=np.int32)}
  draw = optimizee("digits_mlp").sample
  one, other = (draw(arrays, jax.random.key(k), 200)["label"] for k in (0, 1))
  assert (one != other).any() and set(one.tolist()) == set(range(9))


def test_images_are_scaled_to_one():
  arrays = {"image": np.full((2, 8, 8, 1), 255, np.uint8), "label": np.zeros(2, np.int32)}
  image = optimizee("digits_mlp").sample(arrays, jax.random.key(0), 4)["image"]
  assert image.dtype == jnp.float32 and float(image.min()) == float(image.max()) == 1.0


def test_relu_on_the_logits_makes_a_dead_network_of_one_whose_logits_are_negative():
  problem, released = optimizee("mnist_conv"), optimizee("mnist_conv", logit_relu=True)
  params = problem.init(jax.random.key(0))
  params["linear"] = {"w": 0 * params["linear"]["w"], "b": jnp.arange(10.0) - 20.0}
  batch = problem.sample(_images("mnist"), jax.random.key(1), 16)
  np.testing.assert_allclose(released.loss(params, batch), np.log(10.0), rtol=1e-6)
  assert abs(float(problem.loss(params, batch)) - np.log(10.0)) > 0.5
  assert optimizee("digits_mlp", logit_relu=True) is OPTIMIZEES["digits_mlp"]


def test_the_quadratic_is_its_formula():
  problem = optimizee("quadratic")
  params, batch = problem.init(jax.random.key(0)), problem.sample({}, jax.random.key(1), 7)
  w, y, x = np.float64(batch["w"]), np.float64(batch["y"]), np.float64(params["x"])
  expected = np.mean([np.sum((w[b] @ x[b] - y[b]) ** 2) for b in range(128)])
  np.testing.assert_allclose(problem.loss(params, batch), expected, rtol=1e-5)


def test_an_unknown_problem_is_refused_with_the_nearest():
  with pytest.raises(ValueError, match="did you mean 'mnist_mlp'"):
    optimizee("mnist_mpl")
