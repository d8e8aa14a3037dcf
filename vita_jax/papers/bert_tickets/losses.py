"""The losses of the paper's tasks, weighted by 0/1 so that padded rows count nothing."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vita_jax.losses.xent import cross_entropy, weighted_mean


def squared_error(outputs: jax.Array, scores: jax.Array, weights: jax.Array) -> jax.Array:
  """Computes the weighted mean of (output - score)^2: outputs [B, 1], scores [B], weights [B]."""
  return weighted_mean(jnp.square(outputs[:, 0] - scores), weights)


def span_loss(logits: jax.Array, starts: jax.Array, ends: jax.Array, weights: jax.Array) -> jax.Array:
  """Computes half the sum of the cross-entropies over positions of starts and of ends.

  Args:
    logits: float [B, T, 2].
    starts: int [B]; T or beyond means "not here" and is left out of its mean.
    ends: int [B], alike.
    weights: 0/1 [B].
  """

  def one(logits: jax.Array, places: jax.Array) -> jax.Array:
    inside = (places >= 0) & (places < logits.shape[1])
    return cross_entropy(logits, jnp.where(inside, places, 0), weights * inside)

  return 0.5 * (one(logits[..., 0], starts) + one(logits[..., 1], ends))
