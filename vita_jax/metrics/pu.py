"""What can be said of a classifier when no negative is labelled: estimates from labelled and unlabelled rows.

With π the share of positives among the unlabelled rows, r = P(called positive | labelled positive) and
q = P(called positive | unlabelled), the case-control setting gives unbiased recall r, and from it all else.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.metrics.pairs import mean


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
    labelled, unlabelled: bool [n]; a row may be both.

  Returns:
    `recall` (r), `called` (q) and `auc`: the share of pairs of a labelled and an unlabelled row in which the
    labelled one scores higher; ties count half.
  """
  labelled, unlabelled = labelled.astype(jnp.float32), unlabelled.astype(jnp.float32)
  called, wins = (logits > 0).astype(jnp.float32), logits[:, None] > logits
  ties = (logits[:, None] == logits) * 0.5
  pairs = labelled[:, None] * unlabelled
  return {
    "recall": mean(called, labelled),
    "called": mean(called, unlabelled),
    "auc": (jnp.sum(pairs * (wins + ties)), jnp.sum(pairs)),
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
  ordered = np.sort(unlabelled)
  below, up_to = (np.searchsorted(ordered, labelled, side=side) for side in ("left", "right"))
  auc = (below + up_to).mean() / (2 * unlabelled.size)
  called = (unlabelled > threshold).mean()
  return pu_metrics(float((labelled > threshold).mean()), float(called), prior=prior, pu_auc=float(auc))
