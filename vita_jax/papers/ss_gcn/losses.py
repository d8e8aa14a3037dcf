"""The losses of SS-GCN: means over masked nodes, never boolean indexing."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vita_jax.losses.xent import cross_entropy, weighted_mean

COMPLETION_SCALE = 100.0  # entries of orthonormal columns are of order 1 / sqrt(N)


def completion(
  outputs: jax.Array, targets: jax.Array, mask: jax.Array, *, scale: float = COMPLETION_SCALE
) -> jax.Array:
  """Computes `scale mean |outputs - targets|` over the masked nodes and all columns: both float32 [N, r]."""
  return scale * weighted_mean(jnp.mean(jnp.abs(outputs - targets), axis=-1), mask)


def soft_cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
  """Computes the mean over rows of `-sum_c t_c log softmax(logits)_c`: both float32 [n, C]."""
  return jnp.mean(-jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1))


def binary_cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
  """Computes the mean over all entries of `-t log p - (1 - t) log(1 - p)`, p = softmax(logits) [n, C].

  `log(1 - p_c)` is the log of the sum of the other classes' shares, which does not cancel where p is near 1.
  """
  n_classes = logits.shape[-1]
  others = jnp.where(jnp.eye(n_classes, dtype=bool), -jnp.inf, logits[..., None, :])
  log_rest = jax.nn.logsumexp(others, axis=-1) - jax.nn.logsumexp(logits, axis=-1, keepdims=True)
  return -jnp.mean(targets * jax.nn.log_softmax(logits) + (1 - targets) * log_rest)


def self_supervised(
  task: str, outputs: jax.Array, targets: jax.Array, mask: jax.Array, *, scale: float = COMPLETION_SCALE
) -> jax.Array:
  """Computes the loss of a task: L1 times `scale` for completion, cross-entropy for tasks with labels."""
  if task == "completion":
    return completion(outputs, targets, mask, scale=scale)
  return cross_entropy(outputs, targets, mask)


def multitask(task: str, target_loss: jax.Array, ss_loss: jax.Array, weight: float) -> jax.Array:
  """Joins two losses: `λ CE + (1 - λ) L_ss`; for graph completion `CE + λ L_ss` (the released code).

  Source: paper, section 3, multi-task learning.
  """
  if task == "completion":
    return target_loss + weight * ss_loss
  return weight * target_loss + (1.0 - weight) * ss_loss
