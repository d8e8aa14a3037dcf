"""Metrics: `(sum, weight)` pairs for steps and evals, and scores of whole predictions."""

from vita_jax.metrics.bootstrap import bootstrap_interval
from vita_jax.metrics.pairs import accuracy, add, divide, finite, mean, once
from vita_jax.metrics.predictions import cross_entropies, information, r_squared
from vita_jax.metrics.ranking import auc, auc_in_step, mean_auc, one_vs_rest_auc

__all__ = [
  "accuracy",
  "add",
  "auc",
  "auc_in_step",
  "bootstrap_interval",
  "cross_entropies",
  "divide",
  "finite",
  "information",
  "mean",
  "mean_auc",
  "once",
  "one_vs_rest_auc",
  "r_squared",
]
