"""Scores of attackers and of decisions on held-out rows. Plain numpy, on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from vita_jax.metrics import auc, information, mean_auc

LEAST_ROWS = 100  # below them, or with fewer of a class, a bootstrap interval is not valid and not given
LEAST_OF_A_CLASS = 10
USELESS = 0.55  # utility AUC
ACCEPTED = 0.7  # share of applicants that the utility's bad rate and the fairness gaps accept


def small(labels: np.ndarray, n_classes: int, records: np.ndarray | None = None) -> str:
  """Says why a bootstrap interval over records with these labels would not be valid; "" where it is.

  Args:
    labels: int [n], or float [n].
    n_classes: 0 for a continuous attribute.
    records: int [n]; rows of one record are one observation. None: every row is one.
  """
  records = np.arange(len(labels)) if records is None else records
  n = len(np.unique(records))
  what = "rows" if n == len(records) else "records"
  if n < LEAST_ROWS:
    return f"{n} test {what}, under {LEAST_ROWS}"
  few = min((len(np.unique(records[labels == c])) for c in range(n_classes)), default=n)
  return f"a class with {few} test {what}, under {LEAST_OF_A_CLASS}" if few < LEAST_OF_A_CLASS else ""


def attack(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
  """Computes what an attacker of a class attribute reaches on rows it has never seen.

  Args:
    probabilities: float [n, C].
    labels: int [n].

  Returns:
    `auc`, as the probabilities are given: which way round they are read is not decided on these rows.
    `advantage` is 2 |AUC - 0.5|; `recalls` are per class; `majority_rate` is the accuracy of guessing the
    largest class.
  """
  area = mean_auc(probabilities, labels)
  guesses = probabilities.argmax(1)
  recalls = [float(np.mean(guesses[labels == c] == c)) for c in np.unique(labels)]
  return {
    "auc": area,
    "advantage": 2 * abs(area - 0.5),
    "accuracy": float(np.mean(guesses == labels)),
    "balanced_accuracy": float(np.mean(recalls)),
    "majority_rate": float(np.bincount(labels).max() / len(labels)),
    "information": information(probabilities, labels),
    "recalls": recalls,
  }


def utility(score: np.ndarray, bad: np.ndarray) -> dict[str, float]:
  """Computes how well the probability of default `score` [n] tells bad (1) from good (0) [n]:

  AUC, accuracy at 0.5 beside the majority rate, average precision, Kolmogorov-Smirnov distance, Brier score,
  and the share of bad ones among the 70 % of lowest score.
  """
  order = np.argsort(-score, kind="stable")
  hits = np.cumsum(bad[order])
  ends = np.append(np.nonzero(np.diff(score[order]))[0], len(score) - 1)  # one point per distinct score
  precision, recall = hits[ends] / (ends + 1), hits[ends] / bad.sum()
  false = (ends + 1 - hits[ends]) / (len(bad) - bad.sum())
  return {
    "auc": auc(score, bad == 1),
    "accuracy": float(np.mean((score > 0.5) == bad)),
    "majority_rate": float(max(bad.mean(), 1 - bad.mean())),
    "average_precision": float(np.sum(precision * np.diff(recall, prepend=0.0))),
    "ks": float(np.max(np.abs(recall - false))),
    "brier": float(np.mean((score - bad) ** 2)),
    "bad_rate_at_70": float(bad[accepted(score)].mean()),
  }


def accepted(score: np.ndarray) -> np.ndarray:
  """Chooses the 70 % of rows with the lowest score, ties by position; returns bool [n]."""
  chosen = np.zeros(len(score), bool)
  chosen[np.argsort(score, kind="stable")[: round(ACCEPTED * len(score))]] = True
  return chosen


def fairness(score: np.ndarray, bad: np.ndarray, private: np.ndarray) -> dict[str, float]:
  """Computes gaps between private classes when 70 % are accepted, and how much base rates alone force.

  `demographic_parity_gap`: largest difference of acceptance rates. `equal_opportunity_gap`: the same among
  good ones. `base_rate_gap`: Delta, the largest difference of P(bad | class): where nothing tells the classes
  apart, the errors within two classes add up to at least Delta (Zhao and Gordon, NeurIPS 2019).
  """
  taken = accepted(score)
  classes = np.unique(private)

  def gap(values, among):
    rates = [values[among & (private == c)].mean() for c in classes if (among & (private == c)).any()]
    return float(max(rates) - min(rates))

  everyone = np.ones(len(bad), bool)
  return {
    "demographic_parity_gap": gap(taken, everyone),
    "equal_opportunity_gap": gap(taken, bad == 0),
    "base_rate_gap": gap(bad, everyone),
  }
