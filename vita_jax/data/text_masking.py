"""BERT's masking of words (Devlin et al., NAACL 2019, section 3.1), with static shapes."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

MASKED_SHARE, SLOTS_SHARE = 0.15, 0.2  # words that are chosen; room for them, so that shapes are static


class Masked(NamedTuple):
  """Texts with words taken out.

  Attributes:
    ids: int32 [B, T].
    positions: int32 [B, K], places of the words that were taken out.
    labels: int32 [B, K], the words that were there.
    weights: float32 [B, K], 1 for a word, 0 for room that was not needed.
  """

  ids: jax.Array
  positions: jax.Array
  labels: jax.Array
  weights: jax.Array


def mask_words(
  key: jax.Array, ids: jax.Array, *, special: tuple[int, ...], mask_id: int, vocab_size: int
) -> Masked:
  """Masks each word with probability 0.15; of these 80 % -> [MASK], 10 % -> any id, 10 % stay.

  Args:
    key: PRNG key.
    ids: int32 [B, T].
    special: ids that are never chosen ([PAD], [CLS], [SEP]).
    mask_id: id of [MASK].
    vocab_size: the random id is uniform over all of these.

  Returns:
    K = ceil(0.2 T) places a row; of more words than that (rare) the last ones are not chosen after all.
  """
  choose, how, word = jax.random.split(key, 3)
  maskable = jnp.all(ids[..., None] != jnp.array(special, jnp.int32), axis=-1)
  chosen = maskable & (jax.random.uniform(choose, ids.shape) < MASKED_SHARE)
  slots = int(np.ceil(SLOTS_SHARE * ids.shape[1]))
  chosen &= jnp.cumsum(chosen, axis=1) <= slots
  positions = jnp.argsort(~chosen, axis=1, stable=True)[:, :slots].astype(jnp.int32)
  coin = jax.random.uniform(how, ids.shape)
  random_id = jax.random.randint(word, ids.shape, 0, vocab_size, ids.dtype)
  changed = jnp.where(coin < 0.8, mask_id, jnp.where(coin < 0.9, random_id, ids))
  labels, weights = (jnp.take_along_axis(x, positions, axis=1) for x in (ids, chosen))
  return Masked(jnp.where(chosen, changed, ids), positions, labels, weights.astype(jnp.float32))
