"""The privacy-risk losses: what the encoder minimises so that the adversaries learn nothing.

Per-sample forms take logits [..., C] and `mask` bool [..., C], the classes that an attribute really has
(attributes of fewer classes are padded). Natural logarithms throughout; p = softmax(logits).
Source: Wu et al., ECCV 2018 (arXiv 1807.08379) and arXiv 1906.05675; `kl_prior` is ours.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

Mask = jax.Array | np.ndarray

LOSSES = ("auto", "neg_entropy", "xent_uniform", "neg_xent", "kbeam", "kl_prior")
REDUCTIONS = ("max", "mean")
IMBALANCED = 0.6  # share of the largest class from which "auto" aims at the prior instead of the uniform
_ABSENT = -1e9  # logit of a class that is not there: its probability is exactly 0, and 0 * _ABSENT is 0


def log_probabilities(logits: jax.Array, mask: Mask) -> jax.Array:
  """Computes log p [..., C]; about -1e9 for classes that are not there."""
  return jax.nn.log_softmax(jnp.where(mask, logits, _ABSENT))


def neg_entropy(logits: jax.Array, mask: Mask) -> jax.Array:
  """Computes sum_c p_c log p_c, in [-log C, 0]: least at the uniform distribution. Shape [...]."""
  log_p = log_probabilities(logits, mask)
  return jnp.sum(jnp.exp(log_p) * log_p, axis=-1)  # not p * log(p), which is NaN where p underflows


def xent_uniform(logits: jax.Array, mask: Mask) -> jax.Array:
  """Computes -(1/C) sum_c log p_c, in [log C, inf): strongest against confident adversaries. Shape [...]."""
  log_p = jnp.where(mask, log_probabilities(logits, mask), 0.0)
  return -jnp.sum(log_p, axis=-1) / jnp.sum(mask, axis=-1)


def kl_prior(logits: jax.Array, mask: Mask, prior: jax.Array) -> jax.Array:
  """Computes KL(p || prior), zero with zero gradient at p = prior [..., C]: the aim for unequal classes."""
  log_p = log_probabilities(logits, mask)
  log_prior = jnp.log(jnp.where(mask & (prior > 0), prior, 1.0))
  return jnp.sum(jnp.exp(log_p) * (jnp.where(mask, log_p, 0.0) - log_prior), axis=-1)


def cross_entropy(logits: jax.Array, labels: jax.Array, mask: Mask) -> jax.Array:
  """Computes -log p_label: logits [..., C], labels int [...]. Shape [...]."""
  log_p = log_probabilities(logits, mask)
  return -jnp.take_along_axis(log_p, labels[..., None], axis=-1)[..., 0]


def reduce_ensemble(values: jax.Array, how: str) -> jax.Array:
  """Reduces per-sample values [M, K, B] of M models to one number per attribute [K].

  "max": the most confident model on each sample, then the mean over samples; "mean": over both.
  """
  over_models = jnp.max(values, axis=0) if how == "max" else jnp.mean(values, axis=0)
  return jnp.mean(over_models, axis=-1)


def privacy_risk(
  name: str, logits: jax.Array, labels: jax.Array, mask: Mask, prior: jax.Array, *, reduction: str
) -> jax.Array:
  """Computes J_B per attribute, float32 [K]: what the encoder minimises, its adversaries held fixed.

  Args:
    name: "neg_entropy", "xent_uniform", "kl_prior" (all reduced by `reduction`); "neg_xent", minus the mean
      cross-entropy of all models (gradient reversal; unbounded below); "kbeam", minus that of the strongest
      model on this batch; "auto", per attribute neg_entropy, or kl_prior where a class has a prior over 0.6.
    logits: float32 [M, K, B, C], of M models for K attributes.
    labels: int32 [K, B]; read by "neg_xent" and "kbeam" only.
    mask: bool [K, C].
    prior: float32 [K, C], class shares of the training rows.
  """
  wide, flat = mask[:, None, :], prior[:, None, :]
  if name in ("neg_xent", "kbeam"):
    losses = jnp.mean(cross_entropy(logits, labels[None], wide), axis=-1)  # [M, K]
    return -jnp.mean(losses, axis=0) if name == "neg_xent" else -jnp.min(losses, axis=0)
  if name == "neg_entropy":
    return reduce_ensemble(neg_entropy(logits, wide), reduction)
  if name == "xent_uniform":
    return reduce_ensemble(xent_uniform(logits, wide), reduction)
  towards_prior = reduce_ensemble(kl_prior(logits, wide, flat), reduction)
  if name == "kl_prior":
    return towards_prior
  unequal = jnp.max(prior, axis=-1) > IMBALANCED
  return jnp.where(unequal, towards_prior, reduce_ensemble(neg_entropy(logits, wide), reduction))
