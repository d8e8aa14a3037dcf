"""How many of the unlabelled rows are positive, when nobody says: best bin estimation.

Garg, Wu, Smola, Balakrishnan, Lipton, "Mixture Proportion Estimation and PU Learning: A Modern Approach"
(NeurIPS 2021). Any score that ranks will do, as long as its top bin is nearly pure: the more negatives look
exactly like positives, the more the estimate lies above the truth.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class PriorEstimate(NamedTuple):
  """`prior` in [0, 1], and the score `threshold` of the bin it was read from."""

  prior: float
  threshold: float


def best_bin_estimate(
  labelled_scores: np.ndarray, unlabelled_scores: np.ndarray, *, delta: float = 0.1, gamma: float = 0.01
) -> PriorEstimate:
  """Estimates the prior from scores of held-out rows.

  With q(c) the share of scores >= c on either side, the ratio q_u(c) / q_p(c) bounds the prior from above for
  every c; the one taken minimises it plus (1 + γ) / q_p(c) (sqrt(log(4/δ) / 2 n_u) + sqrt(log(4/δ) / 2 n_p)).

  Args:
    labelled_scores, unlabelled_scores: float [n_p], [n_u], from a classifier of labelled against unlabelled
      rows that has NOT seen them.
    delta, gamma: of the bound, as in the paper's experiments.

  Raises:
    ValueError: no scores on a side, or NaN.
  """
  labelled, unlabelled = (
    np.sort(np.asarray(s, np.float64).ravel()) for s in (labelled_scores, unlabelled_scores)
  )
  if not (labelled.size and unlabelled.size) or np.isnan(labelled).any() or np.isnan(unlabelled).any():
    raise ValueError("scores of labelled and of unlabelled rows are needed, without NaN")
  thresholds = np.unique(labelled)
  top_labelled = 1 - np.searchsorted(labelled, thresholds, side="left") / labelled.size
  top_unlabelled = 1 - np.searchsorted(unlabelled, thresholds, side="left") / unlabelled.size
  slack = np.sqrt(np.log(4 / delta) / 2 / unlabelled.size) + np.sqrt(np.log(4 / delta) / 2 / labelled.size)
  best = np.argmin((top_unlabelled + (1 + gamma) * slack) / top_labelled)
  ratio = top_unlabelled[best] / top_labelled[best]
  return PriorEstimate(float(min(ratio, 1.0)), float(thresholds[best]))


def estimate_prior(
  labelled: np.ndarray, unlabelled: np.ndarray, *, folds: int = 5, seed: int = 0
) -> PriorEstimate:
  """`best_bin_estimate` of features [n_p, d], [n_u, d]: scores by cross-fitting.

  Each fold is scored by a classifier (a logistic regression on standardised features) of labelled against
  unlabelled rows trained on the other folds.

  Raises:
    ValueError: fewer rows than folds on a side.
  """
  from sklearn.linear_model import LogisticRegression
  from sklearn.model_selection import StratifiedKFold, cross_val_predict
  from sklearn.pipeline import make_pipeline
  from sklearn.preprocessing import StandardScaler

  if min(len(labelled), len(unlabelled)) < folds:
    raise ValueError(
      f"{len(labelled)} labelled and {len(unlabelled)} unlabelled rows: {folds} of each are needed"
    )
  x = np.concatenate([labelled, unlabelled]).reshape(len(labelled) + len(unlabelled), -1)
  y = np.arange(len(x)) < len(labelled)
  classifier = make_pipeline(
    StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000)
  )
  split = StratifiedKFold(folds, shuffle=True, random_state=seed)
  scores = cross_val_predict(classifier, x, y, cv=split, method="decision_function")
  return best_bin_estimate(scores[y], scores[~y])
