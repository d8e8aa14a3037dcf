"""The losses of the paper's tasks, weighted by 0/1 so that padded rows count nothing; and masking words."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

MASKED_SHARE, SLOTS_SHARE = 0.15, 0.2  # words that are chosen; room for them, so that shapes are static


def weighted_mean(values: jax.Array, weights: jax.Array) -> jax.Array:
  """`sum w v / sum w`, 0 where all weights are 0; both of one shape."""
  return jnp.sum(values * weights) / jnp.maximum(jnp.sum(weights), 1.0)


def cross_entropy(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
  """Weighted mean of the cross entropies: logits [..., C], labels int [...], weights [...]."""
  return weighted_mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels), weights)


def squared_error(outputs: jax.Array, scores: jax.Array, weights: jax.Array) -> jax.Array:
  """Weighted mean of (output - score)^2: outputs [B, 1], scores [B]."""
  return weighted_mean(jnp.square(outputs[:, 0] - scores), weights)


def span_loss(logits: jax.Array, starts: jax.Array, ends: jax.Array, weights: jax.Array) -> jax.Array:
  """Half the sum of the cross entropies over positions of starts and of ends.

  Args:
    logits: [B, T, 2]. starts, ends: int [B]; T or beyond means "not here" and is left out of its mean.
    weights: [B].
  """

  def one(logits, places):
    inside = (places >= 0) & (places < logits.shape[1])
    return cross_entropy(logits, jnp.where(inside, places, 0), weights * inside)

  return 0.5 * (one(logits[..., 0], starts) + one(logits[..., 1], ends))


class Masked(NamedTuple):
  """A text with words taken out: `ids` int32 [B, T]; at `positions` int32 [B, K] were `labels` int32 [B, K],
  where `weights` float32 [B, K] are 1 (the rest is room that was not needed)."""

  ids: jax.Array
  positions: jax.Array
  labels: jax.Array
  weights: jax.Array


def mask_words(
  key: jax.Array, ids: jax.Array, *, special: tuple[int, ...], mask_id: int, vocab_size: int
) -> Masked:
  """BERT's masking: each word with probability 0.15; of these 80 % -> [MASK], 10 % -> any id, 10 % stay.

  Args:
    key: PRNG key. ids: int32 [B, T].
    special: ids that are never chosen ([PAD], [CLS], [SEP]).
    mask_id: id of [MASK]. vocab_size: the random id is uniform over all of these.

  Returns:
    K = ceil(0.2 T) places a row; of more words than that (rare) the last ones are not chosen after all.
  """
  choose, how, word = jax.random.split(key, 3)
  maskable = jnp.all(ids[..., None] != jnp.array(special, jnp.int32), axis=-1)
  chosen = maskable & (jax.random.uniform(choose, ids.shape) < MASKED_SHARE)
  slots = int(np.ceil(SLOTS_SHARE * ids.shape[1]))
  chosen &= jnp.cumsum(chosen, axis=1) <= slots
  positions = jnp.argsort(~chosen, axis=1, stable=True)[:, :slots].astype(jnp.int32)
  take = lambda x: jnp.take_along_axis(x, positions, axis=1)  # noqa: E731
  coin = jax.random.uniform(how, ids.shape)
  random_id = jax.random.randint(word, ids.shape, 0, vocab_size, ids.dtype)
  changed = jnp.where(coin < 0.8, mask_id, jnp.where(coin < 0.9, random_id, ids))
  return Masked(jnp.where(chosen, changed, ids), positions, take(ids), take(chosen).astype(jnp.float32))
