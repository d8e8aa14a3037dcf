"""Distances to a teacher in closed form; the teacher gets no gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.losses import distil


def test_soft_labels_have_the_gradient_of_the_difference_of_probabilities():
  """d/ds T^2 KL(p || q) = T (q - p) / rows, p and q at temperature T."""
  rng = np.random.default_rng(0)
  student, teacher = (jnp.asarray(rng.normal(size=(4, 5)), jnp.float32) for _ in range(2))
  for temperature in (1.0, 3.0):
    options = {"temperature": temperature}
    value, gradient = jax.value_and_grad(distil.soft_label_divergence)(student, teacher, **options)
    p, q = (np.asarray(jax.nn.softmax(x / temperature), np.float64) for x in (teacher, student))
    expected = temperature**2 * (p * np.log(p / q)).sum(axis=1).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, temperature * (q - p) / 4, atol=1e-6)
    np.testing.assert_allclose(distil.soft_label_divergence(teacher, teacher, **options), 0.0, atol=1e-7)


@pytest.mark.parametrize(
  "distance", [distil.squared_distance, distil.absolute_distance, distil.soft_label_divergence]
)
def test_the_teacher_gets_no_gradient(distance):
  x, y = jnp.array([[1.0, 2.0]]), jnp.array([[0.0, -1.0]])
  on_student, on_teacher = jax.grad(distance, (0, 1))(x, y)
  assert np.any(on_student) and not np.any(on_teacher)
  with pytest.raises(ValueError, match=r"of one shape, they are \(1, 2\) and \(1, 1\)"):
    distance(x, y[:, :1])


def test_features_that_a_linear_map_leads_over_have_no_distance():
  rng = np.random.default_rng(1)
  maps = {name: jnp.asarray(rng.normal(size=(2, 3, 3, 4)), jnp.float32) for name in ("a", "b")}
  adapters = distil.init_adapters(jax.random.key(0), {"a": (4, 6), "b": (4, 2)})
  teacher = {name: maps[name] @ kernel for name, kernel in adapters.items()}
  np.testing.assert_allclose(distil.feature_distance(adapters, maps, teacher), 0.0, atol=1e-10)
  # the mean over layers, not over all numbers: 1 on "b" alone is 1/2
  shifted = {**teacher, "b": teacher["b"] + 1.0}
  np.testing.assert_allclose(distil.feature_distance(adapters, maps, shifted), 0.5, rtol=1e-5)
  gradients = jax.grad(distil.feature_distance, (0, 1, 2))(adapters, maps, shifted)
  assert np.any(gradients[0]["b"]) and np.any(gradients[1]["b"]) and not np.any(gradients[2]["b"])


def test_adapters_keep_the_size_of_features():
  kernel = distil.init_adapters(jax.random.key(1), {"a": (256, 64)})["a"]
  x = jax.random.normal(jax.random.key(2), (500, 256))
  np.testing.assert_allclose(jnp.std(x @ kernel), 1.0, atol=0.05)


def test_layers_that_do_not_fit_are_named():
  adapters, one = {"a": jnp.ones((4, 3))}, {"a": jnp.ones((1, 2, 2, 4))}
  with pytest.raises(ValueError, match="the teacher has no features 'a': it has b"):
    distil.feature_distance(adapters, one, {"b": one["a"]})
  with pytest.raises(ValueError, match="of the student have 5 channels, its adapter 4"):
    distil.feature_distance(adapters, {"a": jnp.ones((1, 2, 2, 5))}, one)
