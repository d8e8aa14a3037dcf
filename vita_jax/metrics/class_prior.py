"""How many of the unlabelled rows are positive, when nobody says: three estimators, their median, and doubt.

What labelled and unlabelled rows can tell is an upper bound of the prior: negatives that look exactly like
positives count as positive. It is the prior itself where the classes are separable, and `estimate_prior` says
which of the two it found.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from vita_jax.base.choose import choose
from vita_jax.metrics.mixture import best_bin_estimate, dedpul_estimate, tice_estimate, tice_subsets
from vita_jax.metrics.ranking import auc

RESAMPLES = 100  # of the bootstrap
MOST_REPEATS = 5  # of the cross-fitting, for at most `REPEATED_ROWS` rows in all repeats together
REPEATED_ROWS = 5_000
MOST_ROWS = 10_000  # more are sampled: the error is that of the estimators by then
SEPARABLE = 0.95  # AUC of positives against negatives from which classes count as separable
APART = 0.1  # the median is trusted where another estimator is at most so far from it


class Estimate(NamedTuple):
  """A share in [0, 1] with its 95 % bootstrap interval."""

  prior: float
  low: float
  high: float


class PriorEstimate(NamedTuple):
  """What is known of the share of positives among the unlabelled rows.

  Attributes:
    prior, low, high: the median of the estimators, with its 95 % bootstrap interval.
    methods: name of an estimator -> what it says.
    auc: how well the scores part positives from negatives, if the prior π is what the lowest estimator says:
      (A - π/2) / (1 - π) of the area A of labelled against unlabelled rows. All of them bound the prior from
      above, and one that is too high makes its own classes look separable.
    upper_bound: the classes overlap, by `auc`: the true prior may be anything up to the estimate.
    doubt: what there is to warn of, in one line; "" for nothing.
  """

  prior: float
  low: float
  high: float
  methods: Mapping[str, Estimate]
  auc: float
  upper_bound: bool
  doubt: str


def estimate_prior(
  labelled: np.ndarray, unlabelled: np.ndarray, *, among: str = "unlabelled", folds: int = 5, seed: int = 0
) -> PriorEstimate:
  """Estimates the share of positives among unlabelled rows; warns of an upper bound and of disagreement.

  Scores are cross-fitted: each fold is scored by gradient-boosted trees (scikit-learn) of labelled against
  unlabelled rows that saw the other folds. Of small tables the log odds are averaged over up to 5 such
  splits: what one split adds by chance looks like overlap of the classes, which the estimates count as
  positives (averaging over splits: Ivanov 2020; Chernozhukov et al. 2018). Best bin and DEDPUL read the
  scores, TIcE the features. The bootstrap resamples the rows `RESAMPLES` times, both sides apart, with scores
  and trees as they are: it shows the chance of the draw, not that of the classifier. A few thousand rows take
  seconds; of more than `MOST_ROWS` rows a sample is taken.

  Args:
    labelled: float [n_p, ...], features of labelled positives; flattened per row.
    unlabelled: float [n_u, ...], those of unlabelled rows.
    among: "unlabelled", or "all": the share among labelled and unlabelled rows together, which is the prior
      where the labelled rows are part of one sample.
    folds: of the cross-fitting.
    seed: of folds, sample and bootstrap.

  Raises:
    ValueError: fewer rows than folds on a side, or values that are not finite.
  """
  from threadpoolctl import threadpool_limits

  choose("among", among, ("unlabelled", "all"))
  if min(len(labelled), len(unlabelled)) < folds:
    raise ValueError(
      f"{len(labelled)} labelled and {len(unlabelled)} unlabelled rows: {folds} of each are needed"
    )
  random = np.random.default_rng(seed)
  share = min(1.0, MOST_ROWS / (len(labelled) + len(unlabelled)))
  sides = [_sample(random, x, max(folds, round(share * len(x)))) for x in (labelled, unlabelled)]
  x, known = np.concatenate(sides), np.arange(sum(map(len, sides))) < len(sides[0])
  if not np.isfinite(x).all():
    raise ValueError("the features of a row are not finite: fill what is missing first")
  with threadpool_limits(1):  # such tables do not fill two threads, and waiting ones slow a busy machine
    repeats = max(1, min(MOST_REPEATS, REPEATED_ROWS // len(x)))
    scores = np.mean([_cross_fitted(x, known, folds, seed + i) for i in range(repeats)], axis=0)
    estimators = list(_estimators(x, known, scores, folds, seed).items())
    values = np.array([estimate(np.ones(len(x))) for _, estimate in estimators])
    resamples = (_resampled(random, known) for _ in range(RESAMPLES))
    draws = np.array([[estimate(weights) for _, estimate in estimators] for weights in resamples])
  parted = _parted(auc(scores, known), float(values.min()))
  known_share = len(labelled) / (len(labelled) + len(unlabelled)) if among == "all" else 0.0
  values, draws = (known_share + (1 - known_share) * found for found in (values, draws))
  methods = {name: _with_interval(float(values[i]), draws[:, i]) for i, (name, _) in enumerate(estimators)}
  prior, low, high = _with_interval(float(np.median(values)), np.median(draws, axis=1))
  found = PriorEstimate(prior, low, high, methods, parted, parted < SEPARABLE, "")
  found = found._replace(doubt=_doubt(found))
  if found.doubt:
    warnings.warn(found.doubt, stacklevel=2)
  return found


def prior_numbers(estimate: PriorEstimate) -> dict[str, float]:
  """Returns `estimated_prior`, and with `_low`, `_high`, `_upper_bound` (0 or 1) and estimators appended."""
  numbers = {"": estimate.prior, "_low": estimate.low, "_high": estimate.high}
  numbers |= {"_upper_bound": float(estimate.upper_bound)}
  numbers |= {f"_{name}": one.prior for name, one in estimate.methods.items()}
  return {f"estimated_prior{name}": value for name, value in numbers.items()}


def _estimators(
  x: np.ndarray, known: np.ndarray, scores: np.ndarray, folds: int, seed: int
) -> dict[str, Callable[[np.ndarray], float]]:
  """Returns name -> function of row weights [n]."""
  subsets = tice_subsets(x, known, folds=folds, seed=seed)
  return {
    "best_bin": partial(_of_scores, _best_bin, scores, known),
    "dedpul": partial(_of_scores, dedpul_estimate, scores, known),
    "tice": lambda weights: tice_estimate(subsets, known, weights=weights),
  }


def _best_bin(*scores: np.ndarray, **weights: Any) -> float:
  return best_bin_estimate(*scores, **weights).prior


def _of_scores(
  estimator: Callable[..., float], scores: np.ndarray, known: np.ndarray, weights: np.ndarray
) -> float:
  return estimator(
    scores[known], scores[~known], labelled_weights=weights[known], unlabelled_weights=weights[~known]
  )


def _cross_fitted(x: np.ndarray, known: np.ndarray, folds: int, seed: int) -> np.ndarray:
  """Returns log odds [n] of being labelled, each from a classifier that has not seen the row."""
  from sklearn.ensemble import HistGradientBoostingClassifier
  from sklearn.model_selection import StratifiedKFold, cross_val_predict

  classifier = HistGradientBoostingClassifier(random_state=seed)
  split = StratifiedKFold(folds, shuffle=True, random_state=seed)
  return cross_val_predict(classifier, x, known, cv=split, method="decision_function")


def _sample(random: np.random.Generator, x: np.ndarray, n: int) -> np.ndarray:
  x = np.asarray(x, np.float64).reshape(len(x), -1)
  return x if n >= len(x) else x[np.sort(random.choice(len(x), n, replace=False))]


def _resampled(random: np.random.Generator, known: np.ndarray) -> np.ndarray:
  """Returns how often each row counts when both sides are drawn again with replacement."""
  weights = np.empty(len(known))
  for side in (known, ~known):
    n = int(side.sum())
    weights[side] = random.multinomial(n, np.full(n, 1 / n))
  return weights


def _with_interval(value: float, draws: np.ndarray) -> Estimate:
  """Returns the value with the 95 % range of the draws about their own median.

  Resampling has a bias of its own for what is a minimum or a maximum; only its spread is taken.
  """
  low, middle, high = np.percentile(draws, [2.5, 50, 97.5])
  return Estimate(value, float(max(value + low - middle, 0.0)), float(min(value + high - middle, 1.0)))


def _parted(area: float, prior: float) -> float:
  """Returns the AUC of positives against negatives, from that of labelled against unlabelled rows."""
  return float((area - prior / 2) / (1 - prior)) if prior < 1 else 0.0


def _doubt(found: PriorEstimate) -> str:
  said = ", ".join(f"{name} {one.prior:.2f}" for name, one in found.methods.items())
  # TIcE keeps a margin for chance, so that it alone may be far above the others.
  distances = sorted(abs(one.prior - found.prior) for one in found.methods.values())
  parts = []
  if found.upper_bound:
    parts.append(
      f"the estimated prior {found.prior:.3f} [{found.low:.3f}, {found.high:.3f}] is an upper bound: the"
      f" classes overlap (AUC {found.auc:.2f}, wanted {SEPARABLE}), and negatives that look positive count"
      " as positive"
    )
  if distances[1] > APART:
    parts.append(f"the estimators of the prior disagree ({said})")
  if not parts:
    return ""
  return "; ".join(parts) + ": give the prior if you know it"
