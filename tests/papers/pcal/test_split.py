"""What is learned of training rows; each test is a leak that must not be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.data import tables, tabular
from vita_jax.data.schema import parse_schema
from vita_jax.data.splits import part_sizes, shuffle_rows
from vita_jax.papers.pcal import split

N = 1000
RNG = np.random.default_rng(0)
STRATA = (RNG.random(N) < 0.2).astype(np.int32) + 2 * (RNG.random(N) < 0.5).astype(np.int32)
GROUPS = np.concatenate([np.repeat(np.arange(60), 5), 60 + np.arange(700)]).astype(np.int32)


@pytest.fixture(scope="module")
def rows():
  return np.stack([shuffle_rows(jax.random.key(seed), GROUPS, STRATA) for seed in range(4)])


def _arrays(numbers):
  private = np.stack([STRATA // 2, numbers[:, 0] ** 2], axis=1).astype(np.float32)
  return {"numbers": jnp.asarray(numbers), "private": jnp.asarray(private)}


def test_statistics_are_of_training_rows_only(rows):
  numbers = RNG.normal(size=(N, 3)).astype(np.float32)
  sizes, wild = part_sizes(N), numbers.copy()
  wild[rows[0][600:]] = 1e6
  ours, theirs = (split.learn(rows[0], _arrays(x), (2, 0), sizes) for x in (wild, numbers))
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)
  train = numbers[rows[0][:600]]
  np.testing.assert_allclose(ours["scaler"]["mean"], train.mean(0), atol=1e-6)
  np.testing.assert_allclose(ours["scaler"]["std"], train.std(0), rtol=1e-5)
  share = (STRATA[rows[0][:600]] // 2).mean()
  np.testing.assert_allclose(ours["prior"][0], [1 - share, share] + [0] * 6, atol=1e-6)
  np.testing.assert_allclose(ours["prior"][1], np.full(8, 1 / 8), atol=2e-3)


def test_missing_values_are_the_median_and_constants_have_unit_scale():
  numbers = jnp.array([[1.0, 5.0], [jnp.nan, 5.0], [3.0, 5.0], [8.0, 5.0]])
  found = split.fit_scaler(numbers)
  np.testing.assert_allclose(found["median"], [3, 5])
  np.testing.assert_allclose(found["mean"], [3.75, 5])
  np.testing.assert_allclose(found["std"], [np.std([1, 3, 3, 8]), 1], rtol=1e-6)


def test_a_column_in_large_units_is_no_constant():
  numbers = 1e-9 * RNG.normal(size=(100, 1)).astype(np.float32)
  np.testing.assert_allclose(split.fit_scaler(jnp.asarray(numbers))["std"], numbers.std(0), rtol=1e-4)
  table = tables.as_table({"x": numbers[:, 0], "y": np.arange(100) % 2})
  encoding = tabular.fit(parse_schema({"numeric": ["x"], "target": "y"}), table)
  np.testing.assert_allclose(tabular.encode(encoding, table).std(0), 1, rtol=1e-4)
