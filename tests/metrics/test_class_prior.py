"""Class priors of sets whose prior is known (the protocol is in prior_sets.py), and what overlap does to them."""

import warnings

import numpy as np
import pytest
from prior_sets import OVERLAPPING, SEPARABLE, pu_set

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
