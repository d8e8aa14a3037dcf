"""Class-balanced self-training: pseudo-labels of unlabelled pictures, and the loss on those accepted.

CBST: Zou et al., ECCV 2018; its regularised form CRST: Zou et al., ICCV 2019.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vita_jax.losses.xent import cross_entropy, weighted_mean


def pseudo_labels(probabilities: jax.Array, share: float) -> jax.Array:
  """Labels pictures class by class, as CBST (Zou et al., ECCV 2018): int32 [n], -1 where none is accepted.

  The threshold of class c is the probability at rank ceil(share n_c) of the n_c pictures whose likeliest
  class it is, from the most certain on. A picture gets the class of the largest p_c / threshold_c, if that
  exceeds 1. A class that no picture is likeliest of has the threshold 1.

  Args:
    probabilities: [n, classes].
    share: of each class, 0 to 1.

  Examples:
    >>> p = jnp.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    >>> pseudo_labels(p, 0.5).tolist()  # the threshold is 0.8, which itself does not exceed it
    [0, -1, -1, -1]
  """
  thresholds = class_thresholds(probabilities, share)
  ratios = probabilities / thresholds
  label = jnp.argmax(ratios, axis=-1).astype(jnp.int32)
  return jnp.where(jnp.max(ratios, axis=-1) > 1, label, -1)


def class_thresholds(probabilities: jax.Array, share: float) -> jax.Array:
  """Computes the threshold of each class, [classes]; see `pseudo_labels`.

  Examples:
    >>> p = jnp.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    >>> [round(float(x), 4) for x in class_thresholds(p, 0.5)]
    [0.8, 1.0]
  """
  n, classes = probabilities.shape
  most, likeliest = jnp.max(probabilities, axis=-1), jnp.argmax(probabilities, axis=-1)

  def one(c: jax.Array) -> jax.Array:
    own = likeliest == c
    ranked = jnp.sort(jnp.where(own, most, 0.0))[::-1]
    rank = jnp.ceil(share * jnp.sum(own)).astype(jnp.int32)
    return jnp.where(jnp.any(own), ranked[jnp.clip(rank - 1, 0, n - 1)], 1.0)

  return jax.vmap(one)(jnp.arange(classes))


def pseudo_loss(logits: jax.Array, labels: jax.Array, *, smooth: float) -> jax.Array:
  """Computes the loss of self-training: cross-entropy on accepted pictures, and MRKLD's regulariser on them.

  The regulariser is -smooth / K sum_k ln p_k (CRST, Zou et al., ICCV 2019).

  Args:
    logits: [n, K].
    labels: int [n]; -1: not accepted, which counts nowhere.
    smooth: weight of the regulariser.
  """
  accepted = (labels >= 0).astype(jnp.float32)
  loss = cross_entropy(logits, labels, accepted)
  if not smooth:
    return loss
  spread = -jnp.mean(jax.nn.log_softmax(logits), axis=-1)
  return loss + smooth * weighted_mean(spread, accepted)
