"""Pure loss functions that several papers share."""

from vita_jax._lazy import submodules
from vita_jax.losses.anchor import (
  PathImportance,
  add_step,
  feature_l2,
  importance_of_path,
  init_importance,
  l2_sp,
)
from vita_jax.losses.detection import best_score, gated_objectness, objectness_times_class
from vita_jax.losses.distil import (
  absolute_distance,
  capped_weight,
  feature_distance,
  init_adapters,
  proxy_kl,
  soft_label_divergence,
  squared_distance,
)
from vita_jax.losses.gan import discriminator_loss, generator_loss
from vita_jax.losses.perceptual import content_distance, gram_matrices, perceptual_distance, style_distance
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
from vita_jax.losses.reinforce import (
  Baseline,
  advantages,
  discounted_returns,
  init_baseline,
  reinforce_loss,
  update_baseline,
)
from vita_jax.losses.xent import cross_entropy, weighted_mean

__all__ = [
  "PRINTABLE_COLORS",
  "Baseline",
  "PURisk",
  "PathImportance",
  "absolute_distance",
  "add_step",
  "advantages",
  "best_score",
  "binary_cross_entropy",
  "binary_entropy",
  "capped_weight",
  "check_prior",
  "content_distance",
  "cross_entropy",
  "discounted_returns",
  "discriminator_loss",
  "feature_distance",
  "feature_l2",
  "gated_objectness",
  "generator_loss",
  "gram_matrices",
  "held_out_nnpu_risk",
  "importance_of_path",
  "init_adapters",
  "init_baseline",
  "init_importance",
  "l2_sp",
  "logistic_loss",
  "naive_risk",
  "nnpu_gradient_objective",
  "nnpu_objective_of",
  "nnpu_risk",
  "non_printability",
  "objectness_times_class",
  "perceptual_distance",
  "proxy_kl",
  "pu_risk",
  "reinforce_loss",
  "sigmoid_loss",
  "soft_label_divergence",
  "squared_distance",
  "style_distance",
  "total_variation",
  "update_baseline",
  "upu_risk",
  "weighted_mean",
]

__getattr__, __dir__ = submodules(__name__)
