"""Scores of whole predictions, against scikit-learn."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from vita_jax import metrics

RNG = np.random.default_rng(0)
SCORE, LABEL = np.round(RNG.random(400), 2), RNG.integers(0, 2, 400)
LABELS = RNG.integers(0, 3, 400)
P = RNG.dirichlet(np.ones(3), 400)


def test_the_auc_is_scikit_learns_with_ties_and_weights():
  assert metrics.auc(SCORE, LABEL == 1) == pytest.approx(sk.roc_auc_score(LABEL, SCORE), abs=1e-12)
  weight = RNG.random(400)
  weighted = sk.roc_auc_score(LABEL, SCORE, sample_weight=weight)
  assert metrics.auc(SCORE, LABEL == 1, weight) == pytest.approx(weighted, abs=1e-12)
  expected = sk.roc_auc_score(LABELS, P, multi_class="ovr", average="macro")
  assert metrics.mean_auc(P, LABELS) == pytest.approx(expected, abs=1e-12)
  each = [sk.roc_auc_score(LABELS == c, P[:, c]) for c in range(3)]
  np.testing.assert_allclose(metrics.one_vs_rest_auc(P, LABELS), each, atol=1e-12)
  assert metrics.one_vs_rest_auc(P, LABELS, np.ones((5, 400))).shape == (3, 5)


def test_the_auc_of_a_step_is_that_of_the_host():
  score = RNG.integers(0, 5, 80) / 4
  label = LABEL[:80]
  expected = metrics.auc(score, label == 1)
  np.testing.assert_allclose(metrics.auc_in_step(jnp.array(score), jnp.array(label)), expected, atol=1e-6)
  assert metrics.auc_in_step(jnp.arange(4.0), jnp.ones(4)) == 0.5


def test_information_and_r_squared():
  shares = np.bincount(LABELS) / 400
  entropy = -np.sum(shares * np.log(shares))
  assert metrics.information(P, LABELS) == pytest.approx(entropy - sk.log_loss(LABELS, P), abs=1e-9)
  assert metrics.r_squared(P[:, 0], SCORE) == pytest.approx(sk.r2_score(SCORE, P[:, 0]), abs=1e-12)


def test_a_bootstrap_interval_covers_the_score_and_shrinks_with_rows():
  noisy = LABEL + RNG.normal(size=400)
  few = metrics.bootstrap_interval(metrics.auc, noisy[:100], LABEL[:100] == 1)
  many = metrics.bootstrap_interval(metrics.auc, noisy, LABEL == 1)
  assert many[0] < metrics.auc(noisy, LABEL == 1) < many[1]
  assert many[1] - many[0] < few[1] - few[0]
  assert many == metrics.bootstrap_interval(metrics.auc, noisy, LABEL == 1)
  assert many == metrics.bootstrap_interval(metrics.auc, noisy, LABEL == 1, groups=np.arange(len(noisy)))
  order = np.random.default_rng(0).permutation(3 * len(noisy))
  ids, copies, labels = (np.repeat(x, 3)[order] for x in (np.arange(len(noisy)), noisy, LABEL))
  np.testing.assert_allclose(metrics.bootstrap_interval(metrics.auc, copies, labels == 1, groups=ids), many)


def test_an_interval_over_seeds_and_rows_has_the_spread_of_both():
  rng = np.random.default_rng(0)
  weights = rng.integers(1, 18, 200)
  of_rows, of_seeds = rng.normal(0.05, 0.3, (1, 200)) * weights, np.array([[-0.02], [0.0], [0.05]]) * weights
  value, low, high = metrics.crossed_interval(of_rows, weights)
  share = of_rows[0] / weights
  error = np.sqrt(np.sum((weights * (share - value)) ** 2)) / weights.sum()  # of a ratio, by linearisation
  assert value == pytest.approx(of_rows.sum() / weights.sum()) and low < value < high
  assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)
  value, *ends = metrics.crossed_interval(of_seeds, weights)
  assert value == pytest.approx(0.01) and ends == pytest.approx([-0.02, 0.05])  # one seed three times
  both = metrics.crossed_interval(of_rows + of_seeds, weights)
  assert both[2] - both[1] > high - low
  assert metrics.crossed_interval(0.1 * np.ones((3, 200)) * weights, weights) == pytest.approx([0.1] * 3)
  ids = np.repeat(np.arange(200), 3)  # copies of a row are no further rows
  copies = metrics.crossed_interval(of_rows[:, ids], weights[ids], groups=ids)
  assert copies == pytest.approx(metrics.crossed_interval(of_rows, weights))
