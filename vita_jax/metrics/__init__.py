"""Metrics: `(sum, weight)` pairs for steps and evals, and scores of whole predictions."""

from vita_jax.metrics.classification import f1, matthews, share_equal
from vita_jax.metrics.correlation import pearson, spearman
from vita_jax.metrics.pairs import accuracy, add, divide, finite, mean, once
from vita_jax.metrics.ranking import auc, auc_in_step

__all__ = [
  "accuracy",
  "add",
  "auc",
  "auc_in_step",
  "divide",
  "f1",
  "finite",
  "matthews",
  "mean",
  "once",
  "pearson",
  "share_equal",
  "spearman",
]
