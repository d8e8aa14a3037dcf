"""Metrics: `(sum, weight)` pairs for steps and evals, and scores of whole predictions."""

from vita_jax._lazy import submodules
from vita_jax.metrics.bootstrap import bootstrap_interval, crossed_interval
from vita_jax.metrics.class_prior import PriorEstimate, estimate_prior, prior_numbers
from vita_jax.metrics.classification import f1, matthews, share_equal
from vita_jax.metrics.correlation import kendall, pearson, spearman
from vita_jax.metrics.detection import Found, average_precision, box_areas, box_iou
from vita_jax.metrics.frechet import Moments, feature_moments, frechet_distance, frechet_of_features
from vita_jax.metrics.iou import (
  class_accuracy,
  class_iou,
  confusion_matrix,
  mean_class_accuracy,
  mean_iou,
  overall_accuracy,
)
from vita_jax.metrics.kernel_distance import (
  KernelDistance,
  kernel_distance,
  kernel_distance_subsets,
  paired_kernel_distance,
  polynomial_kernel,
)
from vita_jax.metrics.keypoints import oks, pck, pck_auc
from vita_jax.metrics.mixture import best_bin_estimate, dedpul_estimate, tice_estimate, tice_subsets
from vita_jax.metrics.pairs import Last, accuracy, add, divide, finite, last, mean, once
from vita_jax.metrics.predictions import cross_entropies, information, r_squared
from vita_jax.metrics.psnr import decibels, psnr
from vita_jax.metrics.pu import (
  impossible,
  pu_counts,
  pu_intervals,
  pu_metrics,
  pu_metrics_of_scores,
  pu_summary,
  pu_table,
  wilson,
)
from vita_jax.metrics.ranking import auc, auc_in_step, mean_auc, one_vs_rest_auc
from vita_jax.metrics.sliced_wasserstein import sliced_wasserstein
from vita_jax.metrics.ssim import ms_ssim, ssim

__all__ = [
  "Found",
  "KernelDistance",
  "Last",
  "Moments",
  "PriorEstimate",
  "accuracy",
  "add",
  "auc",
  "auc_in_step",
  "average_precision",
  "best_bin_estimate",
  "bootstrap_interval",
  "box_areas",
  "box_iou",
  "class_accuracy",
  "class_iou",
  "confusion_matrix",
  "cross_entropies",
  "crossed_interval",
  "decibels",
  "dedpul_estimate",
  "divide",
  "estimate_prior",
  "f1",
  "feature_moments",
  "finite",
  "frechet_distance",
  "frechet_of_features",
  "impossible",
  "information",
  "kendall",
  "kernel_distance",
  "kernel_distance_subsets",
  "last",
  "matthews",
  "mean",
  "mean_auc",
  "mean_class_accuracy",
  "mean_iou",
  "ms_ssim",
  "oks",
  "once",
  "one_vs_rest_auc",
  "overall_accuracy",
  "paired_kernel_distance",
  "pck",
  "pck_auc",
  "pearson",
  "polynomial_kernel",
  "prior_numbers",
  "psnr",
  "pu_counts",
  "pu_intervals",
  "pu_metrics",
  "pu_metrics_of_scores",
  "pu_summary",
  "pu_table",
  "r_squared",
  "share_equal",
  "sliced_wasserstein",
  "spearman",
  "ssim",
  "tice_estimate",
  "tice_subsets",
  "wilson",
]
__getattr__, __dir__ = submodules(__name__)
