"""The privacy losses against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.papers.pcal import losses

TWO, THREE = jnp.array([True, True]), jnp.array([True, True, True])


@pytest.mark.parametrize(
  "logits,expected", [([0, 0], -np.log(2)), ([2, 0], -0.365334), ([1000, 0], 0.0), ([0, 0, 0], -np.log(3))]
)
def test_neg_entropy(logits, expected):
  x = jnp.array(logits, jnp.float32)
  mask = jnp.ones(len(logits), bool)
  value, gradient = jax.value_and_grad(losses.neg_entropy)(x, mask)
  np.testing.assert_allclose(value, expected, atol=1e-6)
  assert np.isfinite(gradient).all()


@pytest.mark.parametrize("logits,expected", [([0, 0], 0.693147), ([2, 0], 1.126928)])
def test_xent_uniform(logits, expected):
  np.testing.assert_allclose(losses.xent_uniform(jnp.array(logits, jnp.float32), TWO), expected, atol=1e-6)


def test_kl_prior_rests_at_the_prior():
  prior = jnp.array([0.8, 0.15, 0.05])
  value, gradient = jax.value_and_grad(losses.kl_prior)(jnp.log(prior), THREE, prior)
  np.testing.assert_allclose(value, 0, atol=1e-6)
  np.testing.assert_allclose(gradient, 0, atol=1e-6)
  assert losses.kl_prior(jnp.zeros(3), THREE, prior) > 0.1


def test_absent_classes_change_nothing():
  """Two classes padded to three: the same losses, finite gradients, none for the padding."""
  logits, padded = jnp.array([1.3, -0.4]), jnp.array([1.3, -0.4, 7.0])
  mask, prior = jnp.array([True, True, False]), jnp.array([0.3, 0.7])
  wide = jnp.array([0.3, 0.7, 0.0])
  for one, other in (
    (lambda x: losses.neg_entropy(x, TWO), lambda x: losses.neg_entropy(x, mask)),
    (lambda x: losses.xent_uniform(x, TWO), lambda x: losses.xent_uniform(x, mask)),
    (lambda x: losses.kl_prior(x, TWO, prior), lambda x: losses.kl_prior(x, mask, wide)),
  ):
    (value, gradient), (expected, slope) = jax.value_and_grad(other)(padded), jax.value_and_grad(one)(logits)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, [*slope, 0.0], atol=1e-6)


def test_the_ensemble_is_reduced_per_sample_then_over_samples():
  values = jnp.array([[-0.1, -0.6], [-0.5, -0.2]])[:, None]  # [models, one attribute, samples]
  np.testing.assert_allclose(losses.reduce_ensemble(values, "max"), [-0.15], atol=1e-7)
  np.testing.assert_allclose(losses.reduce_ensemble(values, "mean"), [-0.35], atol=1e-7)


def _risk(name, logits, labels, prior, reduction="max"):
  mask = jnp.ones(prior.shape, bool)
  return losses.privacy_risk(name, logits, labels, mask, prior, reduction=reduction)


def test_reversal_and_kbeam_are_minus_cross_entropies():
  logits = jnp.array(np.random.default_rng(0).normal(size=(3, 2, 5, 2)), jnp.float32)
  labels, prior = jnp.array([[0, 1, 1, 0, 1], [1, 1, 0, 0, 0]]), jnp.full((2, 2), 0.5)
  p = jax.nn.softmax(logits)
  each = -np.log(np.take_along_axis(np.asarray(p), np.asarray(labels)[None, :, :, None], -1))[..., 0].mean(-1)
  np.testing.assert_allclose(_risk("neg_xent", logits, labels, prior), -each.mean(0), rtol=1e-5)
  np.testing.assert_allclose(_risk("kbeam", logits, labels, prior), -each.min(0), rtol=1e-5)


def test_auto_aims_at_the_prior_of_unequal_attributes_only():
  logits = jnp.array(np.random.default_rng(1).normal(size=(2, 2, 4, 2)), jnp.float32)
  labels, prior = jnp.zeros((2, 4), int), jnp.array([[0.55, 0.45], [0.9, 0.1]])
  found, entropy, kl = (_risk(n, logits, labels, prior) for n in ("auto", "neg_entropy", "kl_prior"))
  np.testing.assert_allclose(found, [entropy[0], kl[1]], rtol=1e-6)
