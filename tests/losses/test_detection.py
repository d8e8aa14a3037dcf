"""Losses of detectors with and without objectness."""

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.losses.detection import best_score, gated_objectness, objectness_times_class

OBJECTNESS = jnp.array([[0.9, 0.6, 0.2], [0.3, 0.8, 0.1]])
CLASSES = jnp.array([[[0.2, 0.8], [0.7, 0.3], [0.9, 0.1]], [[0.1, 0.9], [0.4, 0.6], [0.3, 0.7]]])


def test_the_best_score_has_the_gradient():
  scores = jnp.array([[0.1, 0.7, 0.3], [0.2, 0.1, 0.0]])
  np.testing.assert_array_equal(best_score(scores), jnp.array([0.7, 0.2]))
  slope = jax.grad(lambda x: best_score(x).sum())(scores)
  np.testing.assert_array_equal(slope, [[0, 1, 0], [1, 0, 0]])


def test_gated_objectness_is_of_persons_only_and_the_gate_has_no_gradient():
  np.testing.assert_allclose(gated_objectness(OBJECTNESS, CLASSES), [0.6, 0.0])  # no person at all: 0
  slopes = jax.grad(lambda o, c: gated_objectness(o, c).sum(), argnums=(0, 1))(OBJECTNESS, CLASSES)
  np.testing.assert_array_equal(slopes[0], [[0, 1, 0], [0, 0, 0]])
  assert not np.asarray(slopes[1]).any()


def test_the_product_is_smooth_in_both():
  np.testing.assert_allclose(objectness_times_class(OBJECTNESS, CLASSES), [0.42, 0.32], rtol=1e-6)
  slope = jax.grad(lambda c: objectness_times_class(OBJECTNESS, c).sum())(CLASSES)
  np.testing.assert_allclose(slope[0, 1], [0.6, 0.0])
