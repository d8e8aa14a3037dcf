"""The losses of SS-GCN: means over masked nodes, never boolean indexing."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vita_jax.losses.xent import cross_entropy, weighted_mean

COMPLETION_SCALE = 100.0  # entries of orthonormal columns are of order 1 / sqrt(N)


def completion(outputs: jax.Array, targets: jax.Array, mask: jax.Array) -> jax.Array:
  """Computes `100 mean |outputs - targets|` over the masked nodes and all columns: both float32 [N, r]."""
  return COMPLETION_SCALE * weighted_mean(jnp.mean(jnp.abs(outputs - targets), axis=-1), mask)


def self_supervised(task: str, outputs: jax.Array, targets: jax.Array, mask: jax.Array) -> jax.Array:
  """Computes the loss of a task: L1 for graph completion, cross-entropy for the tasks with labels."""
  return (completion if task == "completion" else cross_entropy)(outputs, targets, mask)


def multitask(task: str, target_loss: jax.Array, ss_loss: jax.Array, weight: float) -> jax.Array:
  """Joins two losses: `λ CE + (1 - λ) L_ss`; for graph completion `CE + λ L_ss` (the released code).

  Source: paper, section 3, multi-task learning.
  """
  if task == "completion":
    return target_loss + weight * ss_loss
  return weight * target_loss + (1.0 - weight) * ss_loss
