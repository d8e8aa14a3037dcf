"""Class-balanced self-training: pseudo-labels of unlabelled pictures or pixels, and the loss on those.

CBST: Zou et al., ECCV 2018; its regularised form CRST: Zou et al., ICCV 2019.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vita_jax.losses.xent import cross_entropy, weighted_mean


def pseudo_labels(probabilities: jax.Array, share: float) -> jax.Array:
  """Labels pictures or pixels class by class, as CBST (Zou et al., ECCV 2018): int32 [...], -1: not accepted.

  The same in two passes, for probabilities that do not fit into memory: `class_thresholds`, then
  `accepted_labels`.

  Args:
    probabilities: [..., classes].
    share: of each class, 0 to 1.

  Examples:
    >>> p = jnp.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    >>> pseudo_labels(p, 0.5).tolist()  # the threshold is 0.8, which itself does not exceed it
    [0, -1, -1, -1]
  """
  most, likeliest = jnp.max(probabilities, axis=-1), jnp.argmax(probabilities, axis=-1)
  return accepted_labels(probabilities, class_thresholds(most, likeliest, probabilities.shape[-1], share))


def class_thresholds(most: jax.Array, likeliest: jax.Array, classes: int, share: float) -> jax.Array:
  """Computes the threshold of each class, [classes].

  That of class c is the probability at rank ceil(share n_c) of the n_c pictures or pixels whose likeliest
  class it is, from the most certain on; 1 for a class that is nowhere the likeliest.

  Args:
    most: [...], the largest probability.
    likeliest: int [...], the class that has it.
    classes: how many there are.
    share: of each class, 0 to 1.

  Examples:
    >>> most, likeliest = jnp.array([0.9, 0.8, 0.7, 0.6]), jnp.array([0, 0, 0, 0])
    >>> [round(float(x), 4) for x in class_thresholds(most, likeliest, 2, 0.5)]
    [0.8, 1.0]
  """
  most, likeliest = most.astype(jnp.float32).ravel(), likeliest.ravel()

  def one(c: jax.Array) -> jax.Array:
    own = likeliest == c
    ranked = jnp.sort(jnp.where(own, most, 0.0))[::-1]
    rank = jnp.ceil(share * jnp.sum(own)).astype(jnp.int32)
    return jnp.where(jnp.any(own), ranked[jnp.clip(rank - 1, 0, most.size - 1)], 1.0)

  return jax.lax.map(one, jnp.arange(classes))  # one by one: pixels are many


def accepted_labels(probabilities: jax.Array, thresholds: jax.Array) -> jax.Array:
  """Returns the class of the largest p_c / threshold_c where that exceeds 1, else -1: int32 [...].

  Args:
    probabilities: [..., classes].
    thresholds: [classes], of `class_thresholds`.

  Examples:
    >>> accepted_labels(jnp.array([[0.55, 0.45], [0.95, 0.05]]), jnp.array([0.9, 0.5])).tolist()
    [-1, 0]
  """
  ratios = probabilities / thresholds
  label = jnp.argmax(ratios, axis=-1).astype(jnp.int32)
  return jnp.where(jnp.max(ratios, axis=-1) > 1, label, -1)


def pseudo_loss(logits: jax.Array, labels: jax.Array, *, smooth: float) -> jax.Array:
  """Computes the loss of self-training: cross-entropy on accepted pictures, and MRKLD's regulariser on them.

  The regulariser is -smooth / K sum_k ln p_k (CRST, Zou et al., ICCV 2019).

  Args:
    logits: [..., K].
    labels: int [...]; -1: not accepted, which counts nowhere.
    smooth: weight of the regulariser.
  """
  accepted = (labels >= 0).astype(jnp.float32)
  loss = cross_entropy(logits, labels, accepted)
  if not smooth:
    return loss
  spread = -jnp.mean(jax.nn.log_softmax(logits), axis=-1)
  return loss + smooth * weighted_mean(spread, accepted)
