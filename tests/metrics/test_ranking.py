"""The area under the ROC curve: closed forms, scikit-learn, and inputs that have no area."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vita_jax import metrics


@pytest.mark.parametrize("kind", [bool, np.int32, np.float64, np.uint8])
def test_labels_of_any_kind_give_the_same_area(kind):
  score = np.array([0.9, 0.8, 0.4, 0.3])
  assert metrics.auc(score, np.array([0, 1, 0, 1], kind)) == 0.25  # integers used to give NaN
  assert metrics.auc(score.tolist(), [False, True, False, True]) == 0.25


def test_it_is_scikit_learns_with_ties_and_weights():
  rng = np.random.default_rng(0)
  score, label = rng.integers(0, 9, 200) / 8, rng.integers(0, 2, 200)
  weight = rng.integers(1, 4, 200)
  assert metrics.auc(score, label) == pytest.approx(roc_auc_score(label, score))
  weighted = roc_auc_score(label, score, sample_weight=weight)
  assert metrics.auc(score, label, weight) == pytest.approx(weighted)
  assert metrics.auc_in_step(jnp.asarray(score), jnp.asarray(label)) == pytest.approx(
    roc_auc_score(label, score), abs=1e-5
  )
  assert np.isnan(metrics.auc(score, np.ones(200)))


@pytest.mark.parametrize(
  ("score", "label", "message"),
  [
    ([0.1, np.nan, 0.3], [0, 1, 0], "1 of 3 scores are NaN"),
    ([0.1, 0.2], [0, 1, 0], "of one length"),
    ([0.1, 0.2], [1, 2], "must be 0 or 1"),
  ],
)
def test_what_has_no_area_is_refused(score, label, message):
  with pytest.raises(ValueError, match=message):
    metrics.auc(score, label)
