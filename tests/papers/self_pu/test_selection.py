"""The trusted set on hand-made scores: both ends, in and out, in only, ties, purity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.papers.self_pu.selection import NEGATIVE, POSITIVE, Trusted, purity, select_trusted

select = jax.jit(select_trusted)


def _sides(trusted):
  return tuple(np.flatnonzero(np.asarray(trusted.side) == s).tolist() for s in (NEGATIVE, POSITIVE))


def _check(trusted, n):
  negatives, positives = _sides(trusted)
  assert len(negatives) == len(positives) == n and not set(negatives) & set(positives)
  order = np.asarray(trusted.order)
  np.testing.assert_array_equal(np.sort(order), np.arange(len(order)))
  assert sorted(order[: 2 * n]) == sorted(negatives + positives)


def test_both_ends_and_scores_that_swap():
  logits = jnp.array([5.0, -3.0, 0.1, 4.0, -5.0, 0.0, -4.0, 3.0])
  first = select(logits, side=2)
  assert _sides(first) == ([4, 6], [0, 3])
  _check(first, 2)
  np.testing.assert_allclose(first.probability[0], jax.nn.sigmoid(5.0))
  assert first.probability[2] == 0.5
  swapped = select(-logits, side=2)
  assert _sides(swapped) == ([0, 3], [4, 6])
  assert _sides(select(logits, side=0)) == ([], [])


def test_members_stay_where_nothing_is_replaced():
  logits = jnp.array([5.0, -3.0, 0.1, 4.0, -5.0, 0.0, -4.0, 3.0])
  first = select(logits, side=1)
  later = select(-logits, side=3, previous=first)
  # 4 and 0 stay, although their scores say the opposite by now.
  assert _sides(later) == ([3, 4, 7], [0, 1, 6])
  _check(later, 3)
  np.testing.assert_allclose(later.probability[4], jax.nn.sigmoid(-5.0), rtol=1e-5)


def test_labelled_rows_are_never_trusted():
  logits = jnp.linspace(-1, 1, 20)
  eligible = jnp.ones(20, bool).at[jnp.array([0, 19, 18])].set(False)
  assert _sides(select(logits, side=3, eligible=eligible)) == ([1, 2, 3], [15, 16, 17])


@pytest.mark.parametrize("side", [1, 7, 50])
def test_saturated_and_equal_scores_still_give_disjoint_sides(side):
  logits = jnp.where(jnp.arange(100) < 50, 200.0, 150.0).at[3].set(300.0)
  trusted = select(logits, side=side)
  _check(trusted, side)
  assert 3 in _sides(trusted)[1]  # ranked by logit: all probabilities round to 1
  _check(select(jnp.zeros(100), side=side), side)


def test_purity():
  trusted = Trusted(jnp.array([2, 2, 1, 0, 1], jnp.int8), jnp.arange(5), jnp.zeros(5))
  positive, negative = purity(trusted, jnp.array([True, False, False, True, False]))
  assert (float(positive), float(negative)) == (0.5, 1.0)
