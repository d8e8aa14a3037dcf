"""What can be said of a classifier when no negative is labelled: estimates from labelled and unlabelled rows.

With π the share of positives among the unlabelled rows, r = P(called positive | labelled positive) and
q = P(called positive | unlabelled), the case-control setting gives unbiased recall r, and from it all else.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.metrics.pairs import mean, once
from vita_jax.metrics.ranking import auc

SHARES = ("accuracy", "auc", "f1", "precision", "recall", "specificity")


def check_prior(prior: Any) -> None:
  """Checks a class prior; arrays, which may be traced, pass.

  Raises:
    ValueError: a number outside (0, 1).
  """
  if isinstance(prior, int | float) and not 0 < prior < 1:
    raise ValueError(f"prior is {prior}: it must be above 0 and below 1")


def pu_counts(
  logits: jax.Array, labelled: jax.Array, unlabelled: jax.Array
) -> dict[str, tuple[jax.Array, jax.Array]]:
  """Counts, inside a compiled step, what `pu_metrics` is computed from: `(sum, weight)` pairs.

  Args:
    logits: float [n]; above 0 is called positive.
    labelled: bool [n].
    unlabelled: bool [n]; a row may be both.

  Returns:
    `recall` (r), `called` (q), `auc`: the share of pairs of a labelled and an unlabelled row in which the
    labelled one scores higher (ties count half), and how many rows there are: `labelled`, `unlabelled`.
  """
  labelled, unlabelled = labelled.astype(jnp.float32), unlabelled.astype(jnp.float32)
  # Pairs are counted, not ranked as in `ranking.auc_in_step`: a row may be on both sides.
  called, wins = (logits > 0).astype(jnp.float32), logits[:, None] > logits
  ties = (logits[:, None] == logits) * 0.5
  pairs = labelled[:, None] * unlabelled
  return {
    "recall": mean(called, labelled),
    "called": mean(called, unlabelled),
    "auc": (jnp.sum(pairs * (wins + ties)), jnp.sum(pairs)),
    "labelled": once(jnp.sum(labelled)),
    "unlabelled": once(jnp.sum(unlabelled)),
  }


def pu_metrics(
  recall: float | None, called: float | None, *, prior: float, pu_auc: float | None = None
) -> dict[str, float | None]:
  """Estimates metrics by name from recall r and called q (host numbers; None or NaN gives None).

  recall: r. accuracy: π r + (1 - π)(1 - f) with f = (q - π r) / (1 - π), i.e. 2 π r + 1 - q - π.
  precision: π r / q. f1: of these. lee_liu: r^2 / q (Lee & Liu, ICML 2003), which ranks classifiers
  like F1 without π. auc: (A - π/2) / (1 - π) of `pu_auc` A, the probability that a labelled positive
  scores above an unlabelled row. Estimates may leave [0, 1]; precision and f1 are None where q is 0.

  Raises:
    ValueError: a prior outside (0, 1).
  """
  check_prior(prior)
  if recall is None or called is None or not np.isfinite([recall, called]).all():
    return dict.fromkeys(("recall", "accuracy", "precision", "f1", "lee_liu", "auc"))
  precision = prior * recall / called if called > 0 else None
  total = (precision or 0.0) + recall
  return {
    "recall": recall,
    "accuracy": 2 * prior * recall + 1 - called - prior,
    "precision": precision,
    "f1": None if precision is None or total <= 0 else 2 * precision * recall / total,
    "lee_liu": recall**2 / called if called > 0 else None,
    "auc": None if pu_auc is None else (pu_auc - prior / 2) / (1 - prior),
  }


def pu_intervals(
  recall: float | None,
  called: float | None,
  *,
  prior: float,
  pu_auc: float | None = None,
  n_labelled: int,
  n_unlabelled: int,
) -> dict[str, tuple[float | None, float | None]]:
  """Computes conservative 95 % intervals of `pu_metrics`, by name: (low, high), None where unknown.

  Wilson intervals of r and q are put where they make a metric smallest and largest (all of them rise with r,
  and but for recall and AUC fall with q); A counts as a share of the labelled rows, whose spread is at most
  that of a share. The prior is taken as known. Intervals, too, may leave [0, 1].

  Args:
    recall: r, as in `pu_metrics`.
    called: q, as there.
    prior: π, as there.
    pu_auc: as there.
    n_labelled: how many rows r is a share of.
    n_unlabelled: how many rows q is a share of.
  """
  if recall is None or called is None or not n_labelled or not n_unlabelled:
    return dict.fromkeys(pu_metrics(None, None, prior=prior), (None, None))
  r, q = wilson(recall, n_labelled), wilson(called, n_unlabelled)
  area = wilson(pu_auc, n_labelled) if pu_auc is not None else (None, None)
  lowest = pu_metrics(r[0], q[1], prior=prior, pu_auc=area[0])
  highest = pu_metrics(r[1], q[0], prior=prior, pu_auc=area[1])
  return {name: (lowest[name], highest[name]) for name in lowest}


def wilson(share: float, n: int) -> tuple[float, float]:
  """Computes Wilson's 95 % interval of a share of n rows.

  Examples:
    >>> [round(x, 3) for x in wilson(1.0, 10)]
    [0.722, 1.0]
  """
  z = 1.959964
  middle = (share + z * z / (2 * n)) / (1 + z * z / n)
  half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
  return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))


def impossible(values: Mapping[str, float | None]) -> list[str]:
  """Returns the names of metrics outside of what they can be, as estimates without negatives may be.

  Names that are or end in one of `SHARES`, e.g. `validation_auc`, are shares of [0, 1]; Lee and Liu's r^2/q,
  `lee_liu`, may be any number from 0 on; ends of intervals, `validation_auc_high`, count as the metric does.
  Others may be anything.

  Examples:
    >>> impossible({"validation_auc": 6.38, "validation_lee_liu": 1.2, "test_accuracy": 1.0, "loss": -3.0})
    ['validation_auc']
  """
  most = dict.fromkeys(SHARES, 1.0) | {"lee_liu": np.inf}
  found = []
  for name, value in values.items():
    stem = name.removesuffix("_low").removesuffix("_high")
    ends = [kind for kind in most if stem == kind or stem.endswith(f"_{kind}")]
    if ends and value is not None and not -1e-9 <= value <= most[ends[0]] + 1e-9:
      found.append(name)
  return found


def pu_table(
  values: Mapping[str, float | None], intervals: Mapping[str, tuple[float | None, float | None]]
) -> str:
  """Writes PU metrics with their intervals as Markdown; a value that cannot be is marked with "!".

  Args:
    values: from `pu_metrics`.
    intervals: from `pu_intervals`.
  """
  wrong = impossible(values)
  lines = ["| metric | estimate | 95 % interval | |", "|---|---|---|---|"]
  for name, value in values.items():
    low, high = intervals[name]
    span = "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
    mark = "! cannot be" if name in wrong else ""
    lines.append(f"| {name} | {'unknown' if value is None else f'{value:.3f}'} | {span} | {mark} |")
  return "\n".join(lines) + "\n"


def pu_summary(
  counts: Mapping[str, float | None], *, prior: float
) -> tuple[dict[str, float | int | None], str]:
  """Computes PU metrics from the (divided) `pu_counts`, and warns of values that cannot be.

  Returns:
    name -> number: each of `pu_metrics` with its interval (`*_low`, `*_high`) and `labelled_rows` and
    `unlabelled_rows`, how many they rest on; and a text with all of it that marks what cannot be.
  """
  n_labelled, n_unlabelled = (int(counts[side] or 0) for side in ("labelled", "unlabelled"))
  recall, called, pu_auc = counts["recall"], counts["called"], counts["auc"]
  values = pu_metrics(recall, called, prior=prior, pu_auc=pu_auc)
  intervals = pu_intervals(
    recall, called, prior=prior, pu_auc=pu_auc, n_labelled=n_labelled, n_unlabelled=n_unlabelled
  )
  numbers: dict[str, float | int | None] = {"labelled_rows": n_labelled, "unlabelled_rows": n_unlabelled}
  for name, value in values.items():
    low, high = intervals[name]
    numbers |= {name: value, f"{name}_low": low, f"{name}_high": high}
  source = f"from {n_labelled} labelled and {n_unlabelled} unlabelled rows at the prior {prior:.3f}"
  if wrong := impossible(values):
    said = ", ".join(f"{name} {values[name]:.3f}" for name in wrong)
    warnings.warn(
      f"PU metrics {source} that cannot be: {said}; either the rows are too few (see their intervals) or the"
      " prior is wrong",
      stacklevel=2,
    )
  return numbers, f"PU metrics {source}\n\n{pu_table(values, intervals)}"


def pu_metrics_of_scores(
  labelled_scores: np.ndarray, unlabelled_scores: np.ndarray, *, prior: float, threshold: float = 0.0
) -> dict[str, float | None]:
  """Computes `pu_metrics` from scores [n], [m] (logits): a score above the threshold is called positive.

  Raises:
    ValueError: no scores on a side, NaN, a prior outside (0, 1).
  """
  labelled, unlabelled = (np.asarray(s, np.float64).ravel() for s in (labelled_scores, unlabelled_scores))
  if not (labelled.size and unlabelled.size) or np.isnan(labelled).any() or np.isnan(unlabelled).any():
    raise ValueError("scores of labelled and of unlabelled rows are needed, without NaN")
  scores = np.concatenate([labelled, unlabelled])
  area = auc(scores, np.arange(scores.size) < labelled.size)
  called = (unlabelled > threshold).mean()
  return pu_metrics(float((labelled > threshold).mean()), float(called), prior=prior, pu_auc=float(area))
