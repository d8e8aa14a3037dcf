"""BERT's masking of words: shares, places, and what is never touched."""

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.data.text_masking import mask_words


def test_words_are_masked_as_in_bert():
  ids = jnp.tile(jnp.array([[2, *range(10, 72), 3]]), (200, 1)).at[:, 50:60].set(0)
  settings = {"special": (0, 2, 3), "mask_id": 4, "vocab_size": 100}
  found = jax.jit(lambda k: mask_words(k, ids, **settings))(jax.random.key(0))
  chosen = np.zeros(ids.shape, bool)
  np.put_along_axis(chosen, np.asarray(found.positions), np.asarray(found.weights) > 0, axis=1)
  words = np.isin(ids, [0, 2, 3], invert=True)
  assert found.positions.shape == (200, 13) and not (chosen & ~words).any()
  n = words.sum()
  share = chosen.sum() / n  # a little is lost where more than 13 of 52 words are drawn
  assert abs(share - 0.15) < 4 * np.sqrt(0.15 * 0.85 / n)
  np.testing.assert_array_equal(np.where(chosen, 0, found.ids), np.where(chosen, 0, ids))
  kept = np.asarray(found.weights) > 0
  np.testing.assert_array_equal(
    np.asarray(found.labels)[kept], np.take_along_axis(np.asarray(ids), np.asarray(found.positions), 1)[kept]
  )
  new, old = np.asarray(found.ids)[chosen], np.asarray(ids)[chosen]
  assert abs((new == 4).mean() - 0.8) < 0.04 and abs((new == old).mean() - 0.1) < 0.03
  changed = new[(new != 4) & (new != old)]
  assert changed.min() < 10 and changed.max() > 90  # any id of the vocabulary, special ones included
