"""Distances to a teacher in closed form; the teacher gets no gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

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


P, Q = jnp.log(jnp.array([[0.8, 0.2]])), jnp.log(jnp.array([[0.5, 0.5]]))


def test_the_proxy_is_the_divergence_of_the_student_from_the_teacher():
  """KL(teacher || student), not the other way round; the mean over images, the sum over classes."""
  assert float(distil.proxy_kl(Q, P)) == pytest.approx(0.1927448, abs=1e-6)
  assert float(distil.proxy_kl(P, Q)) == pytest.approx(0.2231436, abs=1e-6)
  twice = distil.proxy_kl(jnp.concatenate([Q, Q]), jnp.concatenate([P, P]))
  assert float(twice) == pytest.approx(0.1927448, abs=1e-6)
  rng = np.random.default_rng(0)
  student, teacher = (jnp.asarray(5 * rng.normal(size=(4, 1000)), jnp.float32) for _ in range(2))
  p, q = (np.asarray(jax.nn.softmax(np.float64(x)), np.float64) for x in (teacher, student))
  assert float(distil.proxy_kl(student, teacher)) == pytest.approx(special.rel_entr(p, q).sum() / 4, rel=1e-4)


def test_the_proxys_gradient_is_the_difference_of_the_probabilities():
  rng = np.random.default_rng(1)
  student, teacher = (jnp.asarray(rng.normal(size=(4, 9)), jnp.float32) for _ in range(2))
  found, none = jax.grad(distil.proxy_kl, argnums=(0, 1))(student, teacher)
  np.testing.assert_allclose(found, (jax.nn.softmax(student) - jax.nn.softmax(teacher)) / 4, atol=1e-7)
  assert not np.any(none)
  value, gradient = jax.value_and_grad(distil.proxy_kl)(teacher, teacher)
  assert abs(float(value)) < 1e-6 and np.abs(gradient).max() < 1e-7
  halves = distil.proxy_kl(student.astype(jnp.bfloat16), teacher.astype(jnp.bfloat16))
  assert halves.dtype == jnp.float32
  far = distil.proxy_kl(jnp.array([[0.0, 1000.0]]), jnp.array([[1000.0, 0.0]]))
  assert float(far) == pytest.approx(1000.0)  # no logarithm of a probability of 0


def test_a_capped_weight_holds_the_term_at_the_cap():
  for value, weight in ((0.2, 45.0), (0.1, 75.0), (0.12, 75.0)):
    assert float(distil.capped_weight(75.0, jnp.float32(value), 9.0)) == pytest.approx(weight)
    assert float(distil.capped_weight(75.0, jnp.float32(value), None)) == 75.0

  def term(value):
    return distil.capped_weight(75.0, value, 9.0) * value

  assert float(jax.grad(term)(jnp.float32(0.2))) == pytest.approx(45.0)  # the weight is a plain number
  assert float(term(jnp.float32(0.2))) == pytest.approx(9.0)
  assert float(distil.capped_weight(75.0, jnp.float32(0.0), 9.0)) == 75.0
  with pytest.raises(ValueError, match="weight is -1: it must be a finite number, at least 0"):
    distil.capped_weight(-1, jnp.float32(0.2), 9.0)
  with pytest.raises(ValueError, match="cap is 0: it must be a finite number, above 0, or None"):
    distil.capped_weight(1.0, jnp.float32(0.2), 0)
