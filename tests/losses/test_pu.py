"""PU risks against hand-made numbers, NumPy, the risk they estimate, and saturated logits."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.losses import pu

LN3, LN4 = np.log(3.0), np.log(4.0)
LABELLED = jnp.array([1, 1, 0, 0, 0])


def _sigmoid(x):
  return 1 / (1 + np.exp(-x))


def _entropy(g):
  return pu.binary_entropy(g).sum()


def _textbook_entropy(g):
  p = jax.nn.sigmoid(g)
  return -(p * jnp.log(p + 1e-10) + (1 - p) * jnp.log(1 - p + 1e-10)).sum()


def _detached(g):
  """Cross-entropy with the row's own probability, held constant."""
  return pu.binary_cross_entropy(g, jax.lax.stop_gradient(jax.nn.sigmoid(g))).sum()


def _numpy_parts(g, labelled, prior):
  """R_pos and R_neg in ten lines of float64 NumPy."""
  g, labelled = np.asarray(g, np.float64), np.asarray(labelled, bool)
  p, u = g[labelled], g[~labelled]
  positive = prior * _sigmoid(-p).mean()
  return positive, _sigmoid(u).mean() - prior * _sigmoid(p).mean()


def test_the_hand_example():
  g = jnp.array([0.0, LN3, 0.0, -LN3, LN3])
  positive, negative = pu.pu_risk(g, LABELLED, prior=0.4)
  np.testing.assert_allclose([positive, negative], [0.15, 0.25], rtol=1e-6)
  for risk in (pu.upu_risk, pu.nnpu_risk, pu.nnpu_gradient_objective):
    np.testing.assert_allclose(risk(g, LABELLED, prior=0.4), 0.40, rtol=1e-6)


def test_the_clipped_branch_ascends_on_the_negative_risk_alone():
  g = jnp.array([0.0, LN3, -LN4, -LN4, -LN4])
  np.testing.assert_allclose(pu.upu_risk(g, LABELLED, prior=0.4), 0.10, rtol=1e-5)
  np.testing.assert_allclose(pu.nnpu_risk(g, LABELLED, prior=0.4), 0.15, rtol=1e-6)
  objective = partial(pu.nnpu_gradient_objective, labelled=LABELLED, prior=0.4)
  np.testing.assert_allclose(objective(g), 0.05, rtol=1e-5)
  np.testing.assert_allclose(jax.grad(objective)(g), [0.05, 0.0375] + [-0.16 / 3] * 3, rtol=1e-5)
  np.testing.assert_allclose(objective(g, beta=0.1), 0.10, rtol=1e-5)
  np.testing.assert_allclose(objective(g, gamma=0.5), 0.025, rtol=1e-5)
  # The trap: the gradient of the reported value is that of R_pos, so R_neg would stay where it is.
  np.testing.assert_array_equal(jax.grad(lambda g: pu.nnpu_risk(g, LABELLED, prior=0.4))(g)[2:], 0)


def test_numpy_weights_masks_and_the_imbalanced_variant():
  random = np.random.default_rng(0)
  g, labelled = random.normal(size=40).astype(np.float32), random.random(40) < 0.3
  expected = _numpy_parts(g, labelled, 0.3)
  np.testing.assert_allclose(pu.pu_risk(g, labelled, prior=0.3), expected, rtol=1e-5, atol=1e-7)
  padded, rows = np.append(g, [9.0, -9.0]).astype(np.float32), np.append(labelled, [True, False])
  mask = jnp.append(jnp.ones(40), jnp.zeros(2))
  np.testing.assert_allclose(pu.pu_risk(padded, rows, prior=0.3, mask=mask), expected, rtol=1e-5, atol=1e-7)
  naive = pu.naive_risk(g, jnp.asarray(labelled))
  np.testing.assert_allclose(pu.naive_risk(padded, jnp.asarray(rows), mask=mask), naive, rtol=1e-6)
  np.testing.assert_allclose(
    naive, np.log1p(np.exp(-g[labelled])).mean() + np.log1p(np.exp(g[~labelled])).mean(), rtol=1e-5
  )
  # A weight multiplies the terms of its row, not the counts.
  weights = jnp.where(jnp.arange(40) == 0, 3.0, 1.0)
  heavier = sum(pu.pu_risk(g, labelled, prior=0.3, weights=weights)) - sum(expected)
  one = (
    jax.nn.sigmoid(g[0]) / (~labelled).sum()
    if not labelled[0]
    else (0.3 * (jax.nn.sigmoid(-g[0]) - jax.nn.sigmoid(g[0])) / labelled.sum())
  )
  np.testing.assert_allclose(heavier, 2 * one, rtol=1e-3)
  balanced = pu.pu_risk(g, labelled, prior=0.3, balance=0.5)
  np.testing.assert_allclose(balanced, [expected[0] * 0.5 / 0.3, expected[1] * 0.5 / 0.7], rtol=1e-5)
  same = pu.pu_risk(g, labelled, prior=0.3, balance=0.3)
  np.testing.assert_allclose(same, expected, rtol=1e-5, atol=1e-7)


def test_upu_is_an_unbiased_estimate_of_the_supervised_risk():
  """A fixed scorer g(x) = x on N(1, 1) against N(-1, 1): means over draws, within 3 standard errors."""
  prior, draws = 0.4, 4000
  random = np.random.default_rng(1)
  p = random.normal(1, 1, (draws, 5))
  is_positive = random.random((draws, 20)) < prior
  u = np.where(is_positive, 1, -1) + random.normal(size=(draws, 20))
  g, labelled = np.concatenate([p, u], 1), np.arange(25) < 5
  risks = np.asarray(jax.vmap(lambda g: pu.upu_risk(g, labelled, prior=prior))(jnp.asarray(g)))
  x = random.normal(size=2_000_000)
  supervised = prior * _sigmoid(-(x + 1)).mean() + (1 - prior) * _sigmoid(x - 1).mean()
  assert abs(risks.mean() - supervised) < 3 * risks.std() / np.sqrt(draws)
  assert np.maximum(risks, 0).mean() > supervised  # clipping is biased upwards: the test can tell


def test_entropy_and_its_gradient_stay_finite_where_probabilities_round():
  np.testing.assert_allclose(_entropy(jnp.zeros(1)), np.log(2), rtol=1e-6)
  np.testing.assert_allclose(jax.grad(_entropy)(jnp.array([LN3])), -LN3 * 0.1875, rtol=1e-5)
  extremes = jnp.array([20.0, -20.0, 100.0, -100.0, 1000.0, -1000.0])
  values, slopes = pu.binary_entropy(extremes), jax.jit(jax.grad(_entropy))(extremes)
  assert jnp.isfinite(values).all() and jnp.isfinite(slopes).all()
  assert jnp.abs(values).max() < 1e-4 and jnp.abs(slopes).max() < 1e-6
  # The textbook form is not: p rounds to 1, 1e-10 is lost beside it.
  assert not jnp.isfinite(jax.jit(jax.grad(_textbook_entropy))(jnp.array([100.0]))).all()
  # Cross-entropy with one's own probability, held constant, teaches nothing: the target must be live.
  np.testing.assert_allclose(jax.grad(_detached)(jnp.array([LN3, -2.0])), 0, atol=1e-7)


@pytest.mark.parametrize("prior", [0.0, 1, -0.1, float("nan")])
def test_a_prior_that_cannot_be_is_refused(prior):
  with pytest.raises(ValueError, match="must be above 0 and below 1"):
    pu.nnpu_gradient_objective(jnp.zeros(2), jnp.array([1, 0]), prior=prior)


@pytest.mark.parametrize("labelled", [jnp.zeros(3), jnp.ones(3)])
def test_a_batch_with_one_side_missing_stays_finite(labelled):
  grads = jax.grad(lambda g: pu.nnpu_gradient_objective(g, labelled, prior=0.5))(jnp.array([1.0, -1.0, 0.0]))
  assert jnp.isfinite(grads).all()
