"""Cross-entropy over the rows that count, by hand."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.losses.xent import cross_entropy


def test_cross_entropy_by_hand():
  logits = jnp.array([[0.0, 0.0, 0.0], [math.log(2), 0.0, 0.0], [9.0, 0.0, 0.0]])
  found = cross_entropy(logits, jnp.array([0, 0, -1]), jnp.array([1, 1, 0]))
  assert float(found) == pytest.approx(0.895880, abs=1e-6)


def test_an_empty_mask_gives_zero_not_nan():
  assert float(cross_entropy(jnp.ones((2, 3)), jnp.array([-1, -1]), jnp.zeros(2))) == 0.0


def test_an_ignored_label_is_left_out_of_the_mean_over_pixels():
  """Of `ignore` 255: weights are labels != 255, as torch's `ignore_index` has it."""
  rng = np.random.default_rng(0)
  logits, labels = rng.normal(size=(2, 4, 5, 3)), rng.integers(0, 3, (2, 4, 5))
  labels[rng.random(labels.shape) < 0.4] = 255
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  kept = labels != 255
  expected = -np.log(np.take_along_axis(p, np.where(kept, labels, 0)[..., None], -1)[..., 0])[kept].mean()
  found = cross_entropy(jnp.asarray(logits, jnp.float32), jnp.asarray(labels), jnp.asarray(kept))
  assert float(found) == pytest.approx(expected, rel=1e-5)
