"""Risks of positive-unlabelled (PU) learning, and what goes with one logit: entropy, cross-entropy.

A batch is logits g float [n] and `labelled` [n]: 1 for a labelled positive, 0 for an unlabelled row; rows are
drawn case-control (the unlabelled ones from the marginal, whose share of positives is `prior`). With
l(m) the loss of a margin m, by default the sigmoid loss l(m) = σ(-m),

    R_pos = π mean_P l(g)      R_neg = mean_U l(-g) - π mean_P l(-g)

du Plessis et al. (NeurIPS 2014, ICML 2015): uPU; Kiryo et al. (NeurIPS 2017): nnPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vita_jax.metrics.pu import check_prior

Loss = Callable[[jax.Array], jax.Array]


class PURisk(NamedTuple):
  """The two parts of a PU risk, scalars: `positive` R_pos, and `negative` R_neg, which may fall below 0."""

  positive: jax.Array
  negative: jax.Array

  @property
  def total(self) -> jax.Array:
    """R_pos + R_neg, the unbiased risk."""
    return self.positive + self.negative


def sigmoid_loss(margin: jax.Array) -> jax.Array:
  """Computes l(m) = σ(-m), between 0 and 1: l(m) + l(-m) = 1."""
  return jax.nn.sigmoid(-margin)


def logistic_loss(margin: jax.Array) -> jax.Array:
  """Computes l(m) = log(1 + exp(-m))."""
  return jax.nn.softplus(-margin)


def pu_risk(
  logits: jax.Array,
  labelled: jax.Array,
  *,
  prior: float | jax.Array,
  weights: jax.Array | None = None,
  mask: jax.Array | None = None,
  balance: float | None = None,
  loss: Loss = sigmoid_loss,
) -> PURisk:
  """Computes R_pos and R_neg of a batch.

  Args:
    logits: float [n].
    labelled: [n], 1 or True for a labelled positive.
    prior: π, the share of positives among the unlabelled rows, in (0, 1).
    weights: float [n], multiplies every l of a row; the counts stay. None: ones.
    mask: [n], 0 for rows that are not there at all (padding). None: ones.
    balance: π' of the imbalanced variant (Su, Chen, Xu, IJCAI 2021): the risk as if positives had the share
      π', R_pos = π' mean_P l(g), R_neg = (1 - π')/(1 - π) (mean_U l(-g) - π mean_P l(-g)); 1/2 weighs
      both classes alike. None: π itself.
    loss: of a margin.

  A side without rows contributes 0.

  Raises:
    ValueError: a prior outside (0, 1), where it is a number.
  """
  check_prior(prior)
  positive_rows = labelled.astype(logits.dtype)
  unlabelled_rows = 1.0 - positive_rows
  if mask is not None:
    positive_rows, unlabelled_rows = positive_rows * mask, unlabelled_rows * mask
  n_positive = jnp.maximum(jnp.sum(positive_rows), 1.0)
  n_unlabelled = jnp.maximum(jnp.sum(unlabelled_rows), 1.0)
  if weights is not None:
    positive_rows, unlabelled_rows = positive_rows * weights, unlabelled_rows * weights
  as_positive, as_negative = loss(logits), loss(-logits)
  positive = prior * jnp.sum(positive_rows * as_positive) / n_positive
  negative = jnp.sum(unlabelled_rows * as_negative) / n_unlabelled
  negative -= prior * jnp.sum(positive_rows * as_negative) / n_positive
  if balance is None:
    return PURisk(positive, negative)
  return PURisk(positive * (balance / prior), negative * ((1.0 - balance) / (1.0 - prior)))


def upu_risk(
  logits: jax.Array, labelled: jax.Array, *, prior: float | jax.Array, **options: Any
) -> jax.Array:
  """Computes the unbiased PU risk R_pos + R_neg; it may be negative. `options` as in `pu_risk`."""
  return pu_risk(logits, labelled, prior=prior, **options).total


def nnpu_risk(
  logits: jax.Array, labelled: jax.Array, *, prior: float | jax.Array, beta: float = 0.0, **options: Any
) -> jax.Array:
  """Computes the non-negative PU risk R_pos + max(R_neg, -β), to report; `nnpu_gradient_objective` trains."""
  positive, negative = pu_risk(logits, labelled, prior=prior, **options)
  return positive + jnp.maximum(negative, -beta)


def held_out_nnpu_risk(
  logits: jax.Array, labelled: jax.Array, unlabelled: jax.Array, *, prior: float
) -> jax.Array:
  """Computes `nnpu_risk` of logits [n]; `labelled` and `unlabelled` bool [n] may overlap (one sample)."""
  kinds = jnp.concatenate([jnp.ones(logits.shape), jnp.zeros(logits.shape)])
  mask = jnp.concatenate([labelled, unlabelled]).astype(logits.dtype)
  return nnpu_risk(jnp.concatenate([logits, logits]), kinds, prior=prior, mask=mask)


def nnpu_gradient_objective(
  logits: jax.Array,
  labelled: jax.Array,
  *,
  prior: float | jax.Array,
  beta: float = 0.0,
  gamma: float = 1.0,
  **options: Any,
) -> jax.Array:
  """Computes what a step of nnPU minimises: R_pos + R_neg, or -γ R_neg where R_neg < -β.

  Kiryo et al., Algorithm 1. In the second case the gradient raises R_neg again and R_pos takes no part:
  differentiating `nnpu_risk` instead would leave R_neg where it is. The decision is per batch.
  """
  return nnpu_objective_of(pu_risk(logits, labelled, prior=prior, **options), beta=beta, gamma=gamma)


def nnpu_objective_of(risk: PURisk, *, beta: float = 0.0, gamma: float = 1.0) -> jax.Array:
  """Computes `nnpu_gradient_objective` from the parts of `pu_risk`."""
  return jnp.where(risk.negative < -beta, -gamma * risk.negative, risk.total)


def naive_risk(logits: jax.Array, labelled: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
  """Computes the logistic loss mean_P l(g) + mean_U l(-g): unlabelled rows taken as negative, no prior."""
  every = jnp.ones_like(logits) if mask is None else mask
  positive = labelled.astype(logits.dtype)
  means = [
    jnp.sum(rows * logistic_loss(margin)) / jnp.maximum(jnp.sum(rows), 1.0)
    for rows, margin in ((positive * every, logits), ((1.0 - positive) * every, -logits))
  ]
  return means[0] + means[1]


def binary_entropy(logits: jax.Array) -> jax.Array:
  """Computes H(p) of p = σ(g), elementwise: softplus(g) - g σ(g), finite for every g (as is its gradient).

  Its gradient is -g p (1 - p): minimising it drives p to the nearer of 0 and 1. It is the cross-entropy
  with the row's own probability as a target through which the gradient flows.
  """
  return jax.nn.softplus(logits) - logits * jax.nn.sigmoid(logits)


def binary_cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
  """Computes softplus(g) - t g, elementwise: targets t in [0, 1]."""
  return jax.nn.softplus(logits) - targets * logits
