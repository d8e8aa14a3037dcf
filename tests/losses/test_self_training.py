"""CBST by hand: thresholds by rank, normalised argmax, and who is accepted."""

import jax
import jax.numpy as jnp
import pytest

from vita_jax.losses.self_training import class_thresholds, pseudo_labels, pseudo_loss


def test_the_threshold_is_the_probability_at_the_rank_of_the_share():
  most, likeliest = jnp.array([0.9, 0.8, 0.7, 0.6]), jnp.zeros(4, jnp.int32)
  assert class_thresholds(most, likeliest, 2, 0.5).tolist() == pytest.approx([0.8, 1.0])
  assert class_thresholds(most, likeliest, 2, 0.2).tolist() == pytest.approx([0.9, 1.0])


def test_pixels_are_labelled_as_as_many_pictures_would_be():
  p = jax.nn.softmax(jax.random.normal(jax.random.key(0), (2, 3, 4, 5)))
  pixels = pseudo_labels(p, 0.4)
  assert (
    pixels.shape == (2, 3, 4) and pixels.ravel().tolist() == pseudo_labels(p.reshape(-1, 5), 0.4).tolist()
  )
  assert 0 < int(jnp.sum(pixels >= 0)) < pixels.size


def test_classes_have_shares_of_their_own_and_a_normalised_argmax_differs_from_a_plain_one():
  sure = jnp.array([[0.9, 0.1], [0.95, 0.05], [0.4, 0.6], [0.48, 0.52]])
  found = pseudo_labels(sure, 1.0)  # thresholds 0.9 and 0.52
  assert found.tolist() == [-1, 0, 1, -1]
  ratios = jnp.array([0.55, 0.45]) / jnp.array([0.9, 0.5])
  assert int(jnp.argmax(ratios)) == 1 and float(ratios.max()) < 1  # picks class 1, and rejects it


def test_pictures_that_are_not_accepted_count_nowhere():
  logits = jnp.log(jnp.array([[0.5, 0.5], [0.9, 0.1]]))
  assert float(pseudo_loss(logits, jnp.array([0, -1]), smooth=0.0)) == pytest.approx(jnp.log(2.0))
  smooth = float(pseudo_loss(logits, jnp.array([0, -1]), smooth=2.0))
  assert smooth == pytest.approx(3 * float(jnp.log(2.0)))
