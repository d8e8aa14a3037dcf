"""A curriculum over pairs: whom a row may get, how many of them, and when."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.data import curriculum


def _gap(a, b):
  return np.abs(a - b)


@pytest.fixture(scope="module")
def table():
  rows = np.random.default_rng(0).uniform(0, 1, 40).astype(np.float32)
  groups = np.arange(40) % 2
  return rows, groups, curriculum.candidates(np.random.default_rng(1), rows, 10, distance=_gap, groups=groups)


def test_candidates_are_others_of_the_group_each_once_sorted_by_distance(table):
  rows, groups, found = table
  assert found.index.dtype == np.int32 and found.index.shape == found.distance.shape == (40, 10)
  for i in range(40):
    assert i not in found.index[i] and len(set(found.index[i])) == 10
    assert (groups[found.index[i]] == groups[i]).all()
  np.testing.assert_allclose(found.distance, np.abs(rows[:, None] - rows[found.index]))
  assert (np.diff(found.distance, axis=1) >= 0).all()
  again = curriculum.candidates(np.random.default_rng(1), rows, 10, distance=_gap, groups=groups)
  np.testing.assert_array_equal(again.index, found.index)


def test_the_pace_is_linear_to_the_half_of_the_run():
  for progress, share in ((0, 0.2), (0.25, 0.6), (0.5, 1), (0.9, 1)):
    assert float(curriculum.pacing("easy_to_hard", progress)) == pytest.approx(share)
    assert float(curriculum.pacing("anti", progress)) == pytest.approx(share)
    assert float(curriculum.pacing("static", progress)) == pytest.approx(0.2)
    assert float(curriculum.pacing("random", progress)) == 1
  for progress, limit in ((0, 0.1), (0.24, 0.1), (0.25, 0.2), (0.5, 0.3), (0.75, 1), (1.0, 1)):
    assert float(curriculum.limit_at(progress)) == pytest.approx(limit)
  with pytest.raises(ValueError, match="did you mean 'anti'"):
    curriculum.pacing("antii", 0)


@pytest.mark.parametrize(
  ("kind", "share", "columns"),
  [
    ("easy_to_hard", 0.2, {0, 1}),
    ("easy_to_hard", 0.21, {0, 1, 2}),
    ("anti", 0.2, {8, 9}),
    ("static", 0.3, {0, 1, 2}),
    ("random", 1.0, set(range(10))),
    ("anti", 1.0, set(range(10))),
    ("easy_to_hard", 1e-6, {0}),
  ],
)
def test_partners_are_drawn_evenly_from_the_allowed_columns(table, kind, share, columns):
  _, _, found = table
  rows = jnp.zeros(4000, jnp.int32) + 7
  drawn = np.asarray(curriculum.draw(jax.random.key(0), found, rows, share, kind=kind))
  allowed = found.index[7, sorted(columns)]
  assert set(drawn) == set(allowed)
  counts = np.array([(drawn == one).sum() for one in allowed])
  assert abs(counts - 4000 / len(allowed)).max() < 5 * np.sqrt(4000)


def test_a_pace_is_a_traced_number_and_compiles_once(table):
  _, _, found = table
  traces = []

  @jax.jit
  def step(key, t):
    traces.append(t)
    return curriculum.draw(
      key, found, jnp.arange(8), curriculum.pacing("easy_to_hard", t / 10), kind="easy_to_hard"
    )

  for t in range(10):
    assert step(jax.random.key(t), jnp.float32(t)).shape == (8,)
  assert len(traces) == 1


def test_easy_first_and_hard_first_differ_from_another_seed(table):
  """The mean distance rises, falls, or stays: a curriculum that only shuffles would not pass."""
  _, _, found = table
  rows = jnp.asarray(np.arange(2000) % 40)

  def mean(kind, progress):
    share = curriculum.pacing(kind, progress)
    partner = curriculum.draw(jax.random.key(3), found, rows, share, kind=kind)
    places = np.argmax(found.index[np.asarray(rows)] == np.asarray(partner)[:, None], axis=1)
    return float(found.distance[np.asarray(rows), places].mean())

  assert mean("easy_to_hard", 0) < 0.5 * mean("easy_to_hard", 1)
  assert mean("anti", 0) > 1.3 * mean("anti", 1)
  assert mean("random", 0) == mean("random", 1) and mean("static", 0) == mean("static", 1)


def test_shares_within_a_distance_count_at_least_one_candidate(table):
  _, _, found = table
  rows = jnp.arange(40)
  shares = np.asarray(curriculum.share_within(found, rows, 0.2))
  np.testing.assert_allclose(shares, np.maximum((found.distance <= 0.2).sum(1), 1) / 10)
  assert (np.asarray(curriculum.share_within(found, rows, -1.0)) == 0.1).all()
  drawn = curriculum.draw(jax.random.key(0), found, rows, jnp.asarray(shares), kind="easy_to_hard")
  assert (np.asarray(drawn) != np.arange(40)).all()


def test_too_few_rows_and_distances_that_are_no_numbers_are_refused():
  rng = np.random.default_rng(0)
  with pytest.raises(ValueError, match="10 partners for each of 10 rows of group 0"):
    curriculum.candidates(rng, np.arange(10.0), 10, distance=_gap)
  with pytest.raises(ValueError, match="the distance of row 2 is not finite"):
    curriculum.candidates(
      rng, np.array([0, 1, np.nan, 3.0]), 1, distance=lambda a, b: np.broadcast_to(a, b.shape)
    )
