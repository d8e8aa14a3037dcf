"""Three published estimators of the share of positives among unlabelled rows, functions of row weights.

The unlabelled rows are a mixture, p_u = π p_p + (1 - π) p_n. What p_u and p_p tell is an upper bound of π,
the minimum of p_u(x) / p_p(x) over x: π itself where some rows can only be positive. All three look for it.
Weights (how often a row counts) let a bootstrap resample rows without scoring them again.

    best bin  Garg et al.: Mixture Proportion Estimation and PU Learning: A Modern Approach (NeurIPS 2021)
    DEDPUL    Ivanov: DEDPUL: Difference-of-Estimated-Densities-based PU Learning (ICMLA 2020)
    TIcE      Bekker, Davis: Estimating the Class Prior in PU Data Through Decision Tree Induction (AAAI 2018)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class BestBin(NamedTuple):
  """`prior` in [0, 1], and the score `threshold` of the bin it was read from."""

  prior: float
  threshold: float


def best_bin_estimate(
  labelled_scores: np.ndarray,
  unlabelled_scores: np.ndarray,
  *,
  labelled_weights: np.ndarray | None = None,
  unlabelled_weights: np.ndarray | None = None,
  delta: float = 0.1,
  gamma: float = 0.01,
) -> BestBin:
  """Estimates the prior by best bin estimation, from scores of held-out rows; only their ranks matter.

  With q(c) the share of scores >= c on either side, the ratio q_u(c) / q_p(c) bounds the prior from above for
  every c; the one taken minimises it plus (1 + γ) / q_p(c) (sqrt(log(4/δ) / 2 n_u) + sqrt(log(4/δ) / 2 n_p)).

  Args:
    labelled_scores: float [n_p], from a classifier of labelled against unlabelled rows that has NOT seen
      them.
    unlabelled_scores: float [n_u], from it, too.
    labelled_weights: float [n_p], how often each row counts; None: once.
    unlabelled_weights: float [n_u], as well.
    delta: of the bound, as in the paper's experiments.
    gamma: of the bound, too.

  Raises:
    ValueError: no scores on a side, or NaN.
  """
  labelled, unlabelled = check_scores(labelled_scores, unlabelled_scores)
  thresholds = np.unique(labelled)
  top_labelled = _share_from(thresholds, labelled, labelled_weights)
  top_unlabelled = _share_from(thresholds, unlabelled, unlabelled_weights)
  slack = np.sqrt(np.log(4 / delta) / 2 / unlabelled.size) + np.sqrt(np.log(4 / delta) / 2 / labelled.size)
  with np.errstate(divide="ignore", invalid="ignore"):  # no labelled row of a resample need be that high
    ratio = np.where(top_labelled > 0, top_unlabelled / top_labelled, np.inf)
    bound = np.where(top_labelled > 0, ratio + (1 + gamma) * slack / top_labelled, np.inf)
  best = np.argmin(bound)
  return BestBin(float(min(ratio[best], 1.0)), float(thresholds[best]))


def dedpul_estimate(
  labelled_scores: np.ndarray,
  unlabelled_scores: np.ndarray,
  *,
  labelled_weights: np.ndarray | None = None,
  unlabelled_weights: np.ndarray | None = None,
  bins: int = 200,
  step: float = 0.001,
  lag: float = 0.02,
  most: float = 0.05,
) -> float:
  """Estimates the prior by DEDPUL, from the densities of held-out scores on both sides.

  r = p_p / p_u of the score (kernel densities, made monotone by isotonic regression) gives the posteriors
  min(1, α r) of a prior α, whose mean over the unlabelled rows would be α if α were right. The difference
  D(α) = α - mean min(1, α r) is convex and bends most where the rows that can only be positive reach 1: the
  estimate is the α with the largest second difference of D among those with D(α) <= `most`.

  Args:
    labelled_scores: float [n_p], from a classifier of labelled against unlabelled rows that has NOT seen
      them; on a scale on which densities are smooth, e.g. log odds.
    unlabelled_scores: float [n_u], from it, too.
    labelled_weights: float [n_p], how often each row counts; None: once.
    unlabelled_weights: float [n_u], as well.
    bins: of the grid on which densities are computed.
    step: of the grid of α.
    lag: of the second difference.
    most: the largest D.

  Raises:
    ValueError: no scores on a side, or NaN.
  """
  labelled, unlabelled = check_scores(labelled_scores, unlabelled_scores)
  both = np.concatenate([labelled, unlabelled])
  if both.min() == both.max():  # nothing is told apart: the bound is 1
    return 1.0
  edges = np.linspace(both.min(), both.max(), bins + 1)
  p_labelled = _density(labelled, labelled_weights, edges)
  p_unlabelled = _density(unlabelled, unlabelled_weights, edges)
  ratio = _isotonic(p_labelled / np.maximum(p_unlabelled, 1e-12), p_unlabelled)
  alphas = np.arange(step, 1 + lag + step / 2, step)
  difference = alphas - np.minimum(1.0, alphas[:, None] * ratio) @ p_unlabelled
  k = round(lag / step)
  bend = difference[2 * k :] - 2 * difference[k:-k] + difference[: -2 * k]
  bend = np.where(difference[k:-k] <= most, bend, -np.inf)
  return float(alphas[k:-k][np.argmax(bend)])


class Subsets(NamedTuple):
  """Subsets of the rows that a tree found on the rows of one fold.

  Attributes:
    rows: int [n], the rows outside the fold, on which labels may be counted.
    inside: float 0/1 [subsets, n].
  """

  rows: np.ndarray
  inside: np.ndarray


def tice_subsets(
  x: np.ndarray, labelled: np.ndarray, *, folds: int = 5, splits: int = 100, least: int = 10, seed: int = 0
) -> list[Subsets]:
  """Finds subsets that are rich in labelled rows, by a tree on one fold of the rows each; the others count.

  The node with the largest labelled share (counted with 5 further unlabelled rows) is split next, at the
  median of the feature whose better half has the largest share.

  Args:
    x: float [n, d]. labelled: bool [n].
    folds: how often; splits: at most so many per tree.
    least: a node with fewer rows is not split.
    seed: of the folds.
  """
  fold = np.random.default_rng(seed).permutation(len(x)) % folds
  return [
    _grow(x, labelled, np.flatnonzero(fold == k), np.flatnonzero(fold != k), splits, least)
    for k in range(folds)
  ]


def tice_estimate(
  subsets: list[Subsets], labelled: np.ndarray, *, weights: np.ndarray | None = None, rounds: int = 2
) -> float:
  """Estimates the prior of the unlabelled rows by TIcE.

  The share of labelled rows among positives, c, is at least the labelled share of any subset, less a margin
  for chance: c >= L/T - sqrt(c (1 - c) (1 - δ) / (δ T)) with δ = max(0.025, 1 / (1 + 0.004 n)) for n counted
  rows. The largest such bound, averaged over the folds, is c; L/c positives leave L/c - L unlabelled ones.

  Args:
    subsets: from `tice_subsets`.
    labelled: bool [n].
    weights: float [n], how often each row counts; None: once.
    rounds: how often c is put into its own bound, from 1/2 on.
  """
  weights = np.ones(len(labelled)) if weights is None else weights
  c = 0.5
  for _ in range(rounds):
    c = float(np.mean([_labelled_share(one, labelled, weights, c) for one in subsets]))
  n_labelled, n = weights[labelled].sum(), weights.sum()
  positives = n if c <= 0 else min(n_labelled / c, n)
  return float(max(positives - n_labelled, 0.0) / (n - n_labelled))


def check_scores(labelled: np.ndarray, unlabelled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns both as flat float64.

  Raises:
    ValueError: no scores on a side, or NaN.
  """
  labelled, unlabelled = (np.asarray(s, np.float64).ravel() for s in (labelled, unlabelled))
  if not (labelled.size and unlabelled.size) or np.isnan(labelled).any() or np.isnan(unlabelled).any():
    raise ValueError("scores of labelled and of unlabelled rows are needed, without NaN")
  return labelled, unlabelled


def _share_from(thresholds: np.ndarray, scores: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
  """Returns the share of scores that are at least each threshold."""
  order = np.argsort(scores)
  weights = np.ones(len(scores)) if weights is None else weights[order]
  below = np.concatenate([[0.0], np.cumsum(weights)])
  return 1 - below[np.searchsorted(scores[order], thresholds, side="left")] / below[-1]


def _density(scores: np.ndarray, weights: np.ndarray | None, edges: np.ndarray) -> np.ndarray:
  """Returns the mass in each bin of a Gaussian kernel density with Silverman's bandwidth."""
  mass = np.histogram(scores, edges, weights=weights)[0].astype(np.float64)
  spread = min(scores.std(), np.subtract(*np.percentile(scores, [75, 25])) / 1.34) or scores.std() or 1.0
  width = 0.9 * spread * len(scores) ** -0.2 / (edges[1] - edges[0])  # in bins
  reach = min(int(np.ceil(4 * width)), len(mass) - 1)
  kernel = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / max(width, 1e-6)))
  padded = np.pad(mass, reach, mode="constant")
  smooth = np.convolve(padded, kernel / kernel.sum(), mode="same")
  smooth = smooth[reach : len(smooth) - reach] + 1e-12
  return smooth / smooth.sum()


def _isotonic(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """Returns the non-decreasing sequence nearest to `values` in weighted squares (pool adjacent violators)."""
  blocks: list[list[float]] = []  # mean, weight, length
  for value, weight in zip(values, weights, strict=True):
    blocks.append([value, weight, 1])
    while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
      mean, total, n = blocks.pop()
      left = blocks[-1]
      left[0] = (left[0] * left[1] + mean * total) / (left[1] + total)
      left[1:] = [left[1] + total, left[2] + n]
  return np.repeat([b[0] for b in blocks], [int(b[2]) for b in blocks])


def _grow(
  x: np.ndarray, labelled: np.ndarray, grown_on: np.ndarray, counted_on: np.ndarray, splits: int, least: int
) -> Subsets:
  nodes = [(_richness(labelled, grown_on), grown_on, counted_on)]
  inside = [np.ones(len(counted_on), bool)]
  for _ in range(splits):
    nodes = [node for node in nodes if len(node[1]) >= least]
    if not nodes:
      break
    best = max(range(len(nodes)), key=lambda i: nodes[i][0])
    _, rows, counted = nodes.pop(best)
    values, known = x[rows], labelled[rows]
    middle = np.median(values, axis=0)
    above = values > middle
    total, found = above.sum(0), known @ above
    shares = np.stack([found / (total + 5), (known.sum() - found) / (len(rows) - total + 5)])
    shares[:, (total == 0) | (total == len(rows))] = -1.0
    feature = int(np.argmax(shares.max(0)))
    if shares[0, feature] < 0:  # all rows of the node are alike
      continue
    for side in (True, False):
      grown = rows[above[:, feature] == side]
      kept = counted[(x[counted, feature] > middle[feature]) == side]
      nodes.append((_richness(labelled, grown), grown, kept))
      inside.append(np.isin(counted_on, kept))
  return Subsets(counted_on, np.stack(inside).astype(np.float64))


def _richness(labelled: np.ndarray, rows: np.ndarray) -> float:
  return labelled[rows].sum() / (len(rows) + 5)


def _labelled_share(subsets: Subsets, labelled: np.ndarray, weights: np.ndarray, c: float) -> float:
  """Returns the largest lower bound of c over the subsets of one fold."""
  own = weights[subsets.rows]
  total, found = (subsets.inside @ np.stack([own, own * labelled[subsets.rows]], axis=1)).T
  delta = max(0.025, 1 / (1 + 0.004 * own.sum()))
  with np.errstate(divide="ignore", invalid="ignore"):
    bound = found / total - np.sqrt(c * (1 - c) * (1 - delta) / (delta * total))
  return float(np.max(bound, where=total > 0, initial=0.0))
