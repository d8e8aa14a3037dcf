"""The losses of SS-GCN: means over masked nodes, never boolean indexing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

COMPLETION_SCALE = 100.0  # entries of orthonormal columns are of order 1 / sqrt(N)


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
  """`sum_i mask_i values_i / sum_i mask_i`: values float32 [N], mask [N]; 0 where the mask is empty."""
  mask = mask.astype(jnp.float32)
  return jnp.sum(values * mask) / jnp.maximum(jnp.sum(mask), 1.0)


def cross_entropy(logits: jax.Array, labels: jax.Array, mask: jax.Array) -> jax.Array:
  """Mean cross entropy over the masked nodes: logits [N, C], labels int [N] (any value off the mask)."""
  labels = jnp.where(mask > 0, labels, 0)
  return masked_mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels), mask)


def completion(outputs: jax.Array, targets: jax.Array, mask: jax.Array) -> jax.Array:
  """`100 mean |outputs - targets|` over the masked nodes and all columns: both float32 [N, r]."""
  return COMPLETION_SCALE * masked_mean(jnp.mean(jnp.abs(outputs - targets), axis=-1), mask)


def self_supervised(task: str, outputs: jax.Array, targets: jax.Array, mask: jax.Array) -> jax.Array:
  """The loss of a task: L1 for graph completion, cross entropy for the tasks with labels."""
  return (completion if task == "completion" else cross_entropy)(outputs, targets, mask)


def multitask(task: str, target_loss: jax.Array, ss_loss: jax.Array, weight: float) -> jax.Array:
  """`λ CE + (1 - λ) L_ss`; for graph completion `CE + λ L_ss` (the released code)."""
  if task == "completion":
    return target_loss + weight * ss_loss
  return weight * target_loss + (1.0 - weight) * ss_loss
