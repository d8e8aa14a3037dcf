"""The estimators of a mixture's share, one by one: known shares, ranks, weights, what cannot be estimated."""

import numpy as np
import pytest

from vita_jax.metrics.mixture import best_bin_estimate, dedpul_estimate, tice_estimate, tice_subsets

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


@pytest.mark.parametrize("prior", [0.1, 0.3, 0.5, 0.8])
def test_dedpul_finds_known_priors(prior):
  labelled, unlabelled, positive = _scores(prior, 1000, 2000)
  assert dedpul_estimate(labelled, unlabelled) == pytest.approx(positive.mean(), abs=0.05)
  assert dedpul_estimate(np.zeros(50), np.zeros(60)) == 1.0  # nothing is told apart


def test_tice_is_the_share_where_one_feature_decides():
  """Positives have x > 0 and a third of them is labelled: c is 1/3 in the subset x > 0, less its margin."""
  x = RANDOM.normal(size=(6000, 3))
  positive = x[:, 0] > 0
  labelled = positive & (RANDOM.random(6000) < 1 / 3)
  found = tice_estimate(tice_subsets(x, labelled), labelled)
  truth = positive[~labelled].mean()
  assert truth < found < truth + 0.15


@pytest.mark.parametrize("estimator", [lambda *a, **k: best_bin_estimate(*a, **k).prior, dedpul_estimate])
def test_a_weight_of_two_is_the_row_twice(estimator):
  """Exactly so for best bin; the bandwidth and bin edges of DEDPUL are those of the rows as they are."""
  labelled, unlabelled, _ = _scores(0.4, 300, 600)
  twice = np.where(np.arange(600) % 3 == 0, 2.0, 1.0)
  weighted = estimator(labelled, unlabelled, unlabelled_weights=twice)
  repeated = estimator(labelled, np.repeat(unlabelled, twice.astype(int)))
  assert weighted == pytest.approx(repeated, abs=0.02)


def test_scores_that_cannot_be_used_are_refused():
  for estimator in (best_bin_estimate, dedpul_estimate):
    with pytest.raises(ValueError, match="without NaN"):
      estimator([np.nan], [1.0])
    with pytest.raises(ValueError, match="are needed"):
      estimator([], [1.0])
