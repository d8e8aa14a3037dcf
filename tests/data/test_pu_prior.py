"""A prior that was estimated once is read, with its warning; other rows and other code are estimated anew."""

import warnings

import numpy as np
import pytest

from vita_jax.data import pu_prior
from vita_jax.data.pu_prior import table_prior
from vita_jax.metrics.class_prior import Estimate, PriorEstimate


@pytest.fixture
def counted(monkeypatch, tmp_path):
  """The calls of the estimator, which is replaced by one that doubts everything."""
  calls = []

  def estimate(labelled, unlabelled, *, among):
    calls.append((len(labelled), len(unlabelled), among))
    warnings.warn("doubt", stacklevel=2)
    one = Estimate(0.4, 0.3, 0.5)
    return PriorEstimate(0.4, 0.3, 0.5, {"tice": one}, 0.9, False, "doubt")

  monkeypatch.setenv("VITA_CACHE_DIR", str(tmp_path))
  monkeypatch.setattr(pu_prior.class_prior, "estimate_prior", estimate)
  return calls


def test_equal_rows_are_estimated_once_and_warned_of_each_time(counted):
  x, labelled = np.arange(20.0).reshape(10, 2), np.arange(10) < 4
  with pytest.warns(UserWarning, match="doubt") as first:
    found = table_prior(x, labelled)
  with pytest.warns(UserWarning, match="doubt") as second:
    assert table_prior(x, labelled) == found
  assert len(first) == len(second) == 1
  assert counted == [(4, 6, "unlabelled")]
  assert found.methods["tice"].low == 0.3 and found.upper_bound is False


@pytest.mark.filterwarnings("ignore:doubt")
def test_other_rows_labels_or_questions_are_estimated_anew(counted):
  x, labelled = np.arange(20.0).reshape(10, 2), np.arange(10) < 4
  table_prior(x, labelled)
  table_prior(x + 1, labelled)
  table_prior(x, ~labelled)
  table_prior(x, labelled, among="all")
  assert counted == [(4, 6, "unlabelled"), (4, 6, "unlabelled"), (6, 4, "unlabelled"), (4, 6, "all")]
