"""Pure loss functions that several papers share."""

from vita_jax._lazy import submodules
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
  "PURisk",
  "binary_cross_entropy",
  "binary_entropy",
  "check_prior",
  "cross_entropy",
  "held_out_nnpu_risk",
  "logistic_loss",
  "naive_risk",
  "nnpu_gradient_objective",
  "nnpu_objective_of",
  "nnpu_risk",
  "pu_risk",
  "sigmoid_loss",
  "upu_risk",
  "weighted_mean",
]

__getattr__, __dir__ = submodules(__name__)
