"""Pools are maxima and means over windows."""

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.nn import pool

X = np.random.default_rng(0).normal(size=(2, 11, 10, 3)).astype(np.float32)
VOLUMES = jnp.asarray(np.random.default_rng(0).normal(size=(2, 7, 6, 5, 3)), jnp.float32)


def test_pools_are_maxima_and_means():
  np.testing.assert_array_equal(pool.max_pool(X, 2)[0, 1, 3], X[0, 2:4, 6:8].max((0, 1)))
  assert pool.max_pool(X, 2).shape == (2, 5, 5, 3)
  means = pool.average_pool_same(jnp.asarray(X), 3)
  np.testing.assert_allclose(means[1, 4, 5], X[1, 3:6, 4:7].mean((0, 1)), rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(means[1, 0, 0], X[1, :2, :2].mean((0, 1)), rtol=1e-5, atol=1e-6)


def test_pooling_is_that_by_windows():
  pooled = pool.max_pool_padded(VOLUMES)
  padding = [(0, 0), *[(1, 1)] * 3, (0, 0)]
  expected = jax.lax.reduce_window(VOLUMES, -jnp.inf, jax.lax.max, (1, 3, 3, 3, 1), (1, 2, 2, 2, 1), padding)
  assert pooled.shape == (2, 4, 3, 3, 3)
  np.testing.assert_array_equal(pooled, expected)


def test_the_last_window_may_be_cut():
  expected = jax.lax.reduce_window(
    X, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), [(0, 0), (0, 1), (0, 0), (0, 0)]
  )
  found = pool.max_pool_ceil(jnp.asarray(X))
  assert found.shape == (2, 6, 5, 3)
  np.testing.assert_array_equal(found, expected)


def test_adaptive_means_cover_any_size():
  """Rows of window i: from floor(i h / size) to ceil((i + 1) h / size); also of fewer places than windows."""
  for size in (4, 11, 13):
    found = pool.adaptive_average_pool(jnp.asarray(X), size)
    assert found.shape == (2, size, size, 3)
    for i, j in ((0, 0), (1, 2), (size - 1, size - 1)):
      rows = slice(i * 11 // size, -(-(i + 1) * 11 // size))
      columns = slice(j * 10 // size, -(-(j + 1) * 10 // size))
      np.testing.assert_allclose(found[:, i, j], X[:, rows, columns].mean((1, 2)), rtol=1e-4, atol=1e-6)
