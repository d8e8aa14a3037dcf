"""Metrics: `(sum, weight)` pairs for steps and evals, and scores of whole predictions."""

from vita_jax._lazy import submodules
from vita_jax.metrics.pairs import accuracy, add, divide, finite, mean, once
from vita_jax.metrics.ranking import auc, auc_in_step

__all__ = ["accuracy", "add", "auc", "auc_in_step", "divide", "finite", "mean", "once"]

__getattr__, __dir__ = submodules(__name__)
