"""Metrics: `(sum, weight)` pairs for steps and evals, and scores of whole predictions."""

from vita_jax._lazy import submodules
from vita_jax.metrics.bootstrap import bootstrap_interval
from vita_jax.metrics.class_prior import PriorEstimate, best_bin_estimate, estimate_prior
from vita_jax.metrics.classification import f1, matthews, share_equal
from vita_jax.metrics.correlation import pearson, spearman
from vita_jax.metrics.pairs import accuracy, add, divide, finite, mean, once
from vita_jax.metrics.predictions import cross_entropies, information, r_squared
from vita_jax.metrics.pu import pu_counts, pu_metrics, pu_metrics_of_scores
from vita_jax.metrics.ranking import auc, auc_in_step, mean_auc, one_vs_rest_auc

__all__ = [
  "PriorEstimate",
  "accuracy",
  "add",
  "auc",
  "auc_in_step",
  "best_bin_estimate",
  "bootstrap_interval",
  "cross_entropies",
  "divide",
  "estimate_prior",
  "f1",
  "finite",
  "information",
  "matthews",
  "mean",
  "mean_auc",
  "once",
  "one_vs_rest_auc",
  "pearson",
  "pu_counts",
  "pu_metrics",
  "pu_metrics_of_scores",
  "r_squared",
  "share_equal",
  "spearman",
]
__getattr__, __dir__ = submodules(__name__)
