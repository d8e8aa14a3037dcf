"""Splits: every row in one part, groups on one side, the shares of the strata kept."""

import jax
import numpy as np
import pytest

from vita_jax.data import splits

N = 1000
RNG = np.random.default_rng(0)
STRATA = (RNG.random(N) < 0.2).astype(np.int32) + 2 * (RNG.random(N) < 0.5).astype(np.int32)
GROUPS = np.concatenate([np.repeat(np.arange(60), 5), 60 + np.arange(700)]).astype(np.int32)


@pytest.fixture(scope="module")
def rows():
  return np.stack([splits.shuffle_rows(jax.random.key(seed), GROUPS, STRATA) for seed in range(4)])


def test_every_row_is_in_one_part_and_duplicates_in_the_same(rows):
  sizes = splits.part_sizes(N)
  assert sizes == (600, 200, 200)
  for order in rows:
    np.testing.assert_array_equal(np.sort(order), np.arange(N))
    parts = splits.cut_rows(order, GROUPS, sizes)
    taken = np.concatenate(list(parts.values()))
    assert len(np.unique(taken)) == len(taken) >= N - 2 * 5  # what lies across a border is left out
    groups = [set(GROUPS[p]) for p in parts.values()]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    np.testing.assert_array_equal(parts["train"], order[:600])
  assert len({tuple(order[:600]) for order in rows}) == 4  # a split of its own for each seed


def test_parts_have_the_strata_of_the_whole():
  alone = np.arange(N, dtype=np.int32)
  order = np.asarray(splits.shuffle_rows(jax.random.key(0), alone, STRATA))
  whole = np.bincount(STRATA) / N
  for part in np.split(order, [600, 800]):
    np.testing.assert_allclose(np.bincount(STRATA[part], minlength=4) / len(part), whole, atol=0.011)


def test_a_drawn_split_is_stratified():
  label = np.arange(1000) % 10 == 0
  parts = splits.draw_split(1000, strata=[label.astype(int)])
  assert [len(p) for p in parts.values()] == [600, 200, 200]
  assert [int(label[p].sum()) for p in parts.values()] == [60, 20, 20]
  assert len(np.unique(np.concatenate(list(parts.values())))) == 1000


def test_a_drawn_split_keeps_groups_together():
  parts = splits.draw_split(N, groups=GROUPS, seed=3)
  owners = [set(GROUPS[p]) for p in parts.values()]
  assert not (owners[0] & owners[1] or owners[0] & owners[2] or owners[1] & owners[2])


def test_combinations_number_what_there_is():
  found = splits.combinations([np.array(["a", "b", "a", "a"]), np.array([1.5, 1.5, 2.5, 1.5])])
  assert found[0] == found[3] and len(set(found.tolist())) == 3 and found.dtype == np.int32


def test_cut_in_order_moves_borders_to_the_ends_of_groups():
  groups = np.array([3, 3, 0, 0, 0, 9, 9, 3])
  found = splits.cut_in_order(groups, (3, 1, 4))
  assert [x.tolist() for x in found] == [[0, 1, 7], [2, 3, 4], [5, 6]]
  assert [len(x) for x in splits.cut_in_order(np.zeros(5), (0, 2, 3))] == [0, 5, 0]
  np.testing.assert_array_equal(np.concatenate(splits.cut_in_order(np.arange(7), (2, 5))), np.arange(7))
