"""Metrics without a labelled negative against those with."""

import numpy as np
import pytest

from vita_jax.metrics.pu import impossible, pu_intervals, pu_metrics, pu_metrics_of_scores, pu_summary

RANDOM = np.random.default_rng(0)


def _scores(prior, n_labelled=2000, n_unlabelled=5000, apart=4.0):
  positive = RANDOM.random(n_unlabelled) < prior
  unlabelled = np.where(positive, apart, 0.0) + RANDOM.normal(size=n_unlabelled)
  return apart + RANDOM.normal(size=n_labelled), unlabelled, positive


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
])  # fmt: skip
def test_what_cannot_be_estimated_is_refused(call, words):
  with pytest.raises(ValueError, match=words):
    call()


def test_an_impossible_estimate_is_marked_beside_its_interval_and_count():
  """Three labelled validation rows, and a prior that is far too high: an AUC of 6.4."""
  counts = {"recall": 1.0, "called": 0.1, "auc": 0.87, "labelled": 3.0, "unlabelled": 80.0}
  with pytest.warns(UserWarning, match=r"from 3 labelled and 80 unlabelled rows .* cannot be: .*auc 6.37"):
    numbers, text = pu_summary(counts, prior=0.937)
  assert numbers["auc"] == pytest.approx((0.87 - 0.4685) / 0.063) and numbers["labelled_rows"] == 3
  assert numbers["accuracy"] == pytest.approx(2 * 0.937 + 1 - 0.1 - 0.937)
  assert numbers["accuracy_low"] < numbers["accuracy"] < numbers["accuracy_high"]
  line = next(line for line in text.splitlines() if line.startswith("| auc "))
  assert line.startswith("| auc | 6.373 |") and "! cannot be" in line
  assert "! cannot be" not in next(line for line in text.splitlines() if line.startswith("| recall "))
  assert impossible({"accuracy": 1.077, "recall": 1.0, "lee_liu": 3.0, "f1": None, "auc": -0.1}) == [
    "accuracy",
    "auc",
  ]
  assert impossible({"accuracy_high": 1.087, "validation_auc_low": -0.2, "f1_low": 0.1}) == [
    "accuracy_high",
    "validation_auc_low",
  ]


def test_intervals_hold_what_they_promise():
  """Samples of 40 labelled and 200 unlabelled rows: at least 95 % of the intervals cover the truth."""
  random, prior, covered = np.random.default_rng(3), 0.35, []
  recall, false = 0.8, 0.1
  truth = pu_metrics(recall, prior * recall + (1 - prior) * false, prior=prior)
  for _ in range(300):
    r = random.binomial(40, recall) / 40
    q = (random.binomial(200, prior * recall + (1 - prior) * false)) / 200
    found = pu_intervals(r, q, prior=prior, n_labelled=40, n_unlabelled=200)
    covered.append([found[name][0] <= truth[name] <= found[name][1] for name in ("recall", "accuracy", "f1")])
  assert (np.mean(covered, axis=0) > 0.93).all()
  assert pu_intervals(None, 0.5, prior=prior, n_labelled=0, n_unlabelled=5)["auc"] == (None, None)


def test_counts_in_a_step_are_those_of_numpy():
  import jax

  from vita_jax.metrics import divide
  from vita_jax.metrics.pu import pu_counts

  logits, labelled = RANDOM.normal(size=30).astype(np.float32), np.arange(30) < 8
  found = divide(jax.jit(pu_counts)(logits, labelled, np.ones(30, bool)))
  expected = pu_metrics_of_scores(logits[labelled], logits, prior=0.4)
  summary, _ = pu_summary(found, prior=0.4)
  assert summary["auc"] == pytest.approx(expected["auc"], abs=1e-6) and summary["labelled_rows"] == 8
  assert summary["accuracy"] == pytest.approx(expected["accuracy"], abs=1e-6)
