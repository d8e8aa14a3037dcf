"""Scores of a prediction on held-out rows, and their bootstrap intervals. Plain numpy, on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

RESAMPLES = 1000
LEAST_ROWS = 100  # below them, or with fewer of a class, a bootstrap interval is not valid and not given
LEAST_OF_A_CLASS = 10
ACCEPTED = 0.7  # share of applicants that the utility's bad rate and the fairness gaps accept


def auc(score: np.ndarray, positive: np.ndarray, weight: np.ndarray | None = None) -> Any:
  """Area under the ROC curve of score [n] for bool positive [n]; ties count half; NaN with one class only.

  `weight` [..., n] gives an array [...], one area per weighting of the rows.
  """
  weight = np.ones(len(score)) if weight is None else weight
  order = np.argsort(score, kind="stable")
  starts = np.nonzero(np.diff(score[order], prepend=np.nan) != 0)[0]  # of each distinct score
  ordered, positive = weight[..., order], positive[order]
  w_positive = np.add.reduceat(ordered * positive, starts, axis=-1)
  w_negative = np.add.reduceat(ordered * ~positive, starts, axis=-1)
  below = np.cumsum(w_negative, axis=-1) - w_negative / 2
  total = w_positive.sum(-1) * w_negative.sum(-1)
  area = np.sum(w_positive * below, axis=-1) / np.where(total > 0, total, np.nan)
  return area if area.ndim else float(area)


def mean_auc(probabilities: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None) -> Any:
  """AUC of class 1 for two classes, else the mean over classes of one against the rest; labels int [n]."""
  n_classes = probabilities.shape[1]
  each = [auc(probabilities[:, c], labels == c, weight) for c in range(1 if n_classes == 2 else 0, n_classes)]
  area = np.nanmean(each, axis=0)
  return area if np.ndim(area) else float(area)


def cross_entropies(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """-log p_label of each row [n], probabilities kept from 0 by 1e-7."""
  chosen = probabilities[np.arange(len(labels)), labels]
  return -np.log(np.clip(chosen, 1e-7, 1.0))


def information(probabilities: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None) -> Any:
  """H(Y) - cross-entropy in nats: a lower bound of I(Y; Z) up to sampling; negative: nothing was found."""
  weight = np.ones(len(labels)) if weight is None else weight
  total = weight.sum(-1)
  shares = np.stack([(weight * (labels == c)).sum(-1) / total for c in range(probabilities.shape[1])])
  entropy = -np.sum(shares * np.log(np.where(shares > 0, shares, 1.0)), axis=0)
  value = entropy - weight @ cross_entropies(probabilities, labels) / total
  return value if np.ndim(value) else float(value)


def r_squared(predicted: np.ndarray, values: np.ndarray, weight: np.ndarray | None = None) -> Any:
  """1 - squared error / variance; 0 is the constant prediction of the mean."""
  weight = np.ones(len(values)) if weight is None else weight
  total, values = weight.sum(-1), values.astype(np.float64)
  variance = weight @ values**2 / total - (weight @ values / total) ** 2
  value = 1 - weight @ (values - predicted) ** 2 / total / variance
  return value if np.ndim(value) else float(value)


def small(labels: np.ndarray, n_classes: int) -> str:
  """Why a bootstrap interval over rows with these labels would not be valid, or "" where it is.

  `n_classes` is 0 for a continuous attribute.
  """
  if len(labels) < LEAST_ROWS:
    return f"{len(labels)} test rows, under {LEAST_ROWS}"
  counts = np.bincount(labels, minlength=n_classes) if n_classes else np.array([len(labels)])
  few = counts.min() < LEAST_OF_A_CLASS
  return f"a class with {counts.min()} test rows, under {LEAST_OF_A_CLASS}" if few else ""


def interval(score: Callable[..., Any], predicted: np.ndarray, labels: np.ndarray, *, seed: int = 0):
  """(low, high): the 95 % percentile bootstrap over rows of `score(predicted, labels, weights [k, n])`."""
  generator, n = np.random.default_rng(seed), len(labels)
  at_once = max(1, min(RESAMPLES, 2_000_000 // n))
  values = []
  for start in range(0, RESAMPLES, at_once):
    size = min(at_once, RESAMPLES - start)
    rows = generator.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
    weights = np.bincount(rows.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
    values.append(score(predicted, labels, weights))
  low, high = np.nanpercentile(np.concatenate(values), [2.5, 97.5])
  return float(low), float(high)


def attack(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
  """What an attacker of a class attribute reaches on rows it has never seen.

  `auc` is max(AUC, 1 - AUC): an attacker that is wrong more often than right knows as much. `advantage` is
  2 |AUC - 0.5|; `recalls` are per class; `majority_rate` is the accuracy of guessing the largest class.
  """
  area = mean_auc(probabilities, labels)
  area = max(area, 1 - area) if probabilities.shape[1] == 2 else area
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
  """How well the probability of default `score` [n] tells bad (1) from good (0) [n].

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
  """bool [n]: the 70 % of rows with the lowest score; ties by position."""
  chosen = np.zeros(len(score), bool)
  chosen[np.argsort(score, kind="stable")[: round(ACCEPTED * len(score))]] = True
  return chosen


def fairness(score: np.ndarray, bad: np.ndarray, private: np.ndarray) -> dict[str, float]:
  """Gaps between private classes when 70 % are accepted, and how much base rates alone force.

  `demographic_parity_gap`: largest difference of acceptance rates. `equal_opportunity_gap`: the same among
  good ones. `base_rate_gap`: Delta, the largest difference of P(bad | class): where nothing tells the classes
  apart, the errors within two classes add up to at least Delta (Zhao and Gordon [memory]).
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
