"""Class priors of sets whose prior is known (protocol: prior_sets.py), and what overlap does to them."""

import warnings

import numpy as np
import pytest

from metrics.prior_sets import OVERLAPPING, SEPARABLE, pu_set
from vita_jax.metrics.class_prior import estimate_prior


@pytest.mark.parametrize("name", SEPARABLE)
def test_priors_of_separable_classes(name):
  labelled, unlabelled, truth = pu_set(name)
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    found = estimate_prior(labelled, unlabelled)
  assert found.prior == pytest.approx(truth, abs=0.08)
  assert 0 <= found.low <= found.prior <= found.high <= 1
  assert len(found.methods) >= 3
  assert found.prior == np.median([one.prior for one in found.methods.values()])
  assert not found.upper_bound


@pytest.mark.parametrize("name", OVERLAPPING)
def test_priors_of_overlapping_classes_are_upper_bounds_and_say_so(name):
  labelled, unlabelled, truth = pu_set(name)
  with pytest.warns(UserWarning, match="upper bound"):
    found = estimate_prior(labelled, unlabelled)
  assert found.upper_bound and found.high > truth - 0.02


def test_estimators_that_disagree_are_named():
  from vita_jax.metrics.class_prior import Estimate, PriorEstimate, _doubt

  methods = {name: Estimate(x, x, x) for name, x in (("best_bin", 0.2), ("dedpul", 0.45), ("tice", 0.6))}
  found = PriorEstimate(0.45, 0.4, 0.5, methods, auc=0.99, upper_bound=False, doubt="")
  assert "disagree (best_bin 0.20, dedpul 0.45, tice 0.60)" in _doubt(found)
  close = {**methods, "best_bin": Estimate(0.44, 0.4, 0.5)}  # TIcE alone keeps a margin for chance
  assert _doubt(found._replace(methods=close)) == ""


def test_rows_that_cannot_be_used_are_refused():
  with pytest.raises(ValueError, match="5 of each are needed"):
    estimate_prior(np.zeros((2, 1)), np.zeros((9, 1)))
  with pytest.raises(ValueError, match="not finite"):
    estimate_prior(np.full((9, 1), np.nan), np.zeros((9, 1)))


def test_an_estimate_that_is_too_high_does_not_pass_for_separable_classes():
  """German credit, another draw: 0.76 for 0.22; the AUC that this implies is 0.98."""
  labelled, unlabelled, truth = pu_set("german", 1)
  with pytest.warns(UserWarning, match="is an upper bound: the classes overlap"):
    found = estimate_prior(labelled, unlabelled)
  assert found.upper_bound and found.auc < 0.9 and found.prior > truth


@pytest.mark.slow
def test_what_one_split_adds_by_chance_is_averaged_out():
  """Breast cancer, 40 % of the malignant ones labelled: one split alone is up to 0.09 off on such draws."""
  from sklearn import datasets

  x, y = datasets.load_breast_cancer(return_X_y=True)
  random = np.random.default_rng(2)
  chosen = random.permutation(np.flatnonzero(y == 0))[:85]
  found = [
    estimate_prior(x[chosen], np.delete(x, chosen, axis=0), among="all", seed=s).prior for s in range(2)
  ]
  assert found == pytest.approx([np.mean(y == 0)] * 2, abs=0.08)
  assert abs(found[0] - found[1]) < 0.04
