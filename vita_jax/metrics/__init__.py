"""Metrics: `(sum, weight)` pairs for steps and evals, and scores of whole predictions."""

from vita_jax.metrics.pairs import Last, accuracy, add, divide, finite, last, mean, once
from vita_jax.metrics.ranking import auc, auc_in_step

__all__ = ["Last", "accuracy", "add", "auc", "auc_in_step", "divide", "finite", "last", "mean", "once"]
