"""Cross-entropy as a mean over the rows that count; padded and unlabelled rows have weight 0."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax


def weighted_mean(values: jax.Array, weights: jax.Array) -> jax.Array:
  """Computes `sum_i w_i v_i / max(sum_i w_i, 1)`: 0 where all weights are 0; both of one shape."""
  weights = weights.astype(jnp.float32)
  return jnp.sum(values * weights) / jnp.maximum(jnp.sum(weights), 1.0)


def cross_entropy(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
  """Computes the weighted mean of `-log softmax(logits)[label]`, in nats.

  Args:
    logits: float [..., C].
    labels: int [...]; any value where the weight is 0.
    weights: 0/1 [...].
  """
  labels = jnp.where(weights > 0, labels, 0)
  return weighted_mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels), weights)
