"""Class priors of sets whose prior is known, and metrics without a labelled negative against those with."""

import numpy as np
import pytest

from vita_jax.metrics.class_prior import best_bin_estimate, estimate_prior
from vita_jax.metrics.pu import pu_metrics, pu_metrics_of_scores

RANDOM = np.random.default_rng(0)


def _scores(prior, n_labelled=2000, n_unlabelled=5000, apart=4.0):
  positive = RANDOM.random(n_unlabelled) < prior
  unlabelled = np.where(positive, apart, 0.0) + RANDOM.normal(size=n_unlabelled)
  return apart + RANDOM.normal(size=n_labelled), unlabelled, positive


@pytest.mark.parametrize("prior", [0.1, 0.3, 0.5, 0.8])
def test_best_bin_finds_known_priors(prior):
  labelled, unlabelled, positive = _scores(prior)
  assert best_bin_estimate(labelled, unlabelled).prior == pytest.approx(positive.mean(), abs=0.04)


def test_best_bin_reads_the_ratio_at_its_threshold():
  labelled, unlabelled, _ = _scores(0.3, 200, 300)
  prior, threshold = best_bin_estimate(labelled, unlabelled)
  ratio = (unlabelled >= threshold).mean() / (labelled >= threshold).mean()
  assert prior == pytest.approx(ratio, rel=1e-9)
  # Scores that tell nothing apart: the bound is 1, whatever the truth.
  assert best_bin_estimate(np.zeros(50), np.zeros(60)).prior == 1.0
  # Only ranks matter.
  assert best_bin_estimate(np.exp(labelled), np.exp(unlabelled)).prior == prior


def test_the_prior_of_the_digits_by_cross_fitting():
  """Even against odd digits, 60 % of the unlabelled ones even: real rows, a linear classifier."""
  from sklearn.datasets import load_digits

  x, y = load_digits(return_X_y=True)
  even, odd = RANDOM.permutation(x[y % 2 == 0]), RANDOM.permutation(x[y % 2 == 1])
  estimate = estimate_prior(even[600:], np.concatenate([even[:600], odd[:400]])).prior
  # An upper bound in expectation, and a loose one with 290 labelled rows and a linear score.
  assert 0.54 < estimate < 0.75


def test_pu_metrics_estimate_the_supervised_ones():
  from sklearn.metrics import accuracy_score, f1_score, precision_score, roc_auc_score

  prior = 0.35
  labelled, unlabelled, positive = _scores(prior, 20000, 40000, apart=1.5)
  found = pu_metrics_of_scores(labelled, unlabelled, prior=positive.mean(), threshold=0.7)
  called = unlabelled > 0.7
  expected = {
    "accuracy": accuracy_score(positive, called),
    "precision": precision_score(positive, called),
    "f1": f1_score(positive, called),
    "auc": roc_auc_score(positive, unlabelled),
  }
  for name, value in expected.items():
    assert found[name] == pytest.approx(value, abs=0.02), name
  assert found["lee_liu"] == pytest.approx(found["recall"] ** 2 / called.mean())


def test_ties_count_half_and_nothing_called_is_no_precision():
  found = pu_metrics_of_scores(np.zeros(4), np.zeros(6), prior=0.5)
  assert found["auc"] == pytest.approx(0.5)
  assert found["precision"] is None and found["f1"] is None and found["accuracy"] == 0.5
  assert set(pu_metrics(None, 0.5, prior=0.5).values()) == {None}


@pytest.mark.parametrize("call,words", [
  (lambda: pu_metrics(0.5, 0.5, prior=1.0), "prior is 1.0"),
  (lambda: pu_metrics_of_scores([], [1.0], prior=0.5), "are needed"),
  (lambda: best_bin_estimate([np.nan], [1.0]), "without NaN"),
  (lambda: estimate_prior(np.zeros((2, 1)), np.zeros((9, 1))), "5 of each are needed"),
])  # fmt: skip
def test_what_cannot_be_estimated_is_refused(call, words):
  with pytest.raises(ValueError, match=words):
    call()
