"""Scores of classes and of values: closed forms, scikit-learn and scipy."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from vita_jax import metrics


def test_scores_of_classes_are_those_of_scikit_learn():
  predicted = np.array([1] * 6 + [0] * 3 + [1] + [0] * 2)
  labels = np.array([1] * 6 + [0] * 3 + [0] + [1] * 2)
  assert metrics.matthews(predicted, labels) == pytest.approx(16 / np.sqrt(1120))
  assert metrics.matthews(np.ones(4), np.array([0, 1, 1, 0])) == 0.0
  assert metrics.f1(np.zeros(3), np.zeros(3)) == 0.0
  rng = np.random.default_rng(0)
  for _ in range(20):
    predicted, labels = rng.integers(0, 2, (2, 30))
    assert metrics.matthews(predicted, labels) == pytest.approx(
      matthews_corrcoef(labels, predicted), abs=1e-12
    )
    assert metrics.f1(predicted, labels) == pytest.approx(f1_score(labels, predicted), abs=1e-12)
    assert metrics.share_equal(predicted, labels) == accuracy_score(labels, predicted)


def test_correlations_are_those_of_scipy():
  rng = np.random.default_rng(0)
  for _ in range(20):
    x, y = rng.normal(size=30), rng.integers(0, 5, 30)
    assert metrics.pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    assert metrics.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
  assert metrics.pearson(np.ones(5), np.arange(5)) == 0.0


def test_a_diverged_model_has_no_correlation():
  """NaN predictions used to score 0, as if the model had said the same of every row."""
  for bad in (np.nan, np.inf):
    broken = np.array([1.0, bad, 2.0])
    assert np.isnan(metrics.pearson(broken, np.arange(3))) and np.isnan(
      metrics.spearman(broken, np.arange(3))
    )


def test_kendall_is_scipys_with_and_without_ties():
  rng = np.random.default_rng(0)
  for values in (1000, 5):
    x, y = rng.integers(0, values, (2, 30))
    assert metrics.kendall(x, y) == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)
  assert metrics.kendall(np.ones(4), np.arange(4)) == 0.0
  assert np.isnan(metrics.kendall(np.array([1, np.nan]), np.arange(2)))
