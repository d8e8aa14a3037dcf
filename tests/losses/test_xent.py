"""Cross-entropy over the rows that count, by hand."""

import math

import jax.numpy as jnp
import pytest

from vita_jax.losses.xent import cross_entropy


def test_cross_entropy_by_hand():
  logits = jnp.array([[0.0, 0.0, 0.0], [math.log(2), 0.0, 0.0], [9.0, 0.0, 0.0]])
  found = cross_entropy(logits, jnp.array([0, 0, -1]), jnp.array([1, 1, 0]))
  assert float(found) == pytest.approx(0.895880, abs=1e-6)


def test_an_empty_mask_gives_zero_not_nan():
  assert float(cross_entropy(jnp.ones((2, 3)), jnp.array([-1, -1]), jnp.zeros(2))) == 0.0
