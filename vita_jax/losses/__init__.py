"""Pure loss functions that several papers share."""

from vita_jax._lazy import submodules
from vita_jax.losses.detection import best_score, gated_objectness, objectness_times_class
from vita_jax.losses.printability import PRINTABLE_COLORS, non_printability, total_variation
from vita_jax.losses.pu import (
  PURisk,
  binary_cross_entropy,
  binary_entropy,
  check_prior,
  held_out_nnpu_risk,
  logistic_loss,
  naive_risk,
  nnpu_gradient_objective,
  nnpu_objective_of,
  nnpu_risk,
  pu_risk,
  sigmoid_loss,
  upu_risk,
)
from vita_jax.losses.xent import cross_entropy, weighted_mean

__all__ = [
  "PRINTABLE_COLORS",
  "PURisk",
  "best_score",
  "binary_cross_entropy",
  "binary_entropy",
  "check_prior",
  "cross_entropy",
  "gated_objectness",
  "held_out_nnpu_risk",
  "logistic_loss",
  "naive_risk",
  "nnpu_gradient_objective",
  "nnpu_objective_of",
  "nnpu_risk",
  "non_printability",
  "objectness_times_class",
  "pu_risk",
  "sigmoid_loss",
  "total_variation",
  "upu_risk",
  "weighted_mean",
]

__getattr__, __dir__ = submodules(__name__)
