"""Dropout: rate, scale, determinism, independence, and how many random bits it draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

from vita_jax.nn import sparse
from vita_jax.nn.dropout import dropout, dropout_sparse

RATES = (0.5, 0.25, 0.75, 0.125, 0.6, 0.1)


@pytest.mark.parametrize("rate", RATES)
def test_drops_at_the_rate_and_scales_the_rest(rate):
  x = jnp.full((999, 101), 3.0)  # a size that is no multiple of 32
  y = np.asarray(dropout(jax.random.key(0), x, rate))
  assert y.shape == x.shape and y.dtype == x.dtype
  dropped = y == 0
  np.testing.assert_allclose(y[~dropped], 3 / (1 - rate), rtol=1e-6)
  deviation = np.sqrt(rate * (1 - rate) / y.size)
  assert abs(dropped.mean() - rate) < 4 * deviation
  # No structure along either axis: each column and row keeps to the rate as well.
  for axis, count in ((0, 999), (1, 101)):
    assert abs(dropped.mean(axis) - rate).max() < 5 * np.sqrt(rate * (1 - rate) / count)


@pytest.mark.parametrize("rate", (0.5, 0.6))
def test_same_key_same_mask_other_key_independent_mask(rate):
  x = jnp.ones((400, 100))
  one, again, other = (np.asarray(dropout(jax.random.key(k), x, rate)) > 0 for k in (1, 1, 2))
  assert (one == again).all()
  both = (one & other).mean()
  assert abs(both - (1 - rate) ** 2) < 0.01
  neighbours = (one.ravel()[:-1] & one.ravel()[1:]).mean()
  assert abs(neighbours - (1 - rate) ** 2) < 0.01


@pytest.mark.parametrize("rate", (0.5, 0.6))
def test_vmap_equals_one_by_one(rate):
  keys, x = jax.random.split(jax.random.key(3), 4), jnp.ones((4, 33, 7))
  batched = jax.jit(jax.vmap(lambda k, x: dropout(k, x, rate)))(keys, x)
  for i in range(4):
    np.testing.assert_array_equal(batched[i], dropout(keys[i], x[i], rate))
  assert (np.asarray(batched[0]) != np.asarray(batched[1])).any()


def test_gradient_is_the_mask():
  x = jax.random.normal(jax.random.key(0), (50, 20))
  y, pullback = jax.vjp(lambda x: dropout(jax.random.key(1), x, 0.5), x)
  (g,) = pullback(jnp.ones_like(x))
  np.testing.assert_array_equal(np.asarray(g), np.where(np.asarray(y) != 0, 2.0, 0.0))


def test_half_draws_one_bit_an_entry():
  jaxpr = str(jax.make_jaxpr(lambda k, x: dropout(k, x, 0.5))(jax.random.key(0), jnp.ones(3200)))
  assert "random_bits" in jaxpr and "u32[100]" in jaxpr
  assert "u32[3200]" not in jaxpr.split("random_bits")[0]


def test_identity_without_key_or_at_rate_zero():
  x = jnp.arange(6.0)
  assert dropout(None, x, 0.5) is x
  assert dropout(jax.random.key(0), x, 0.0) is x


def test_keeps_bfloat16():
  assert dropout(jax.random.key(0), jnp.ones(8, jnp.bfloat16), 0.6).dtype == jnp.bfloat16


@pytest.mark.parametrize("rate", (-0.1, 1.0, 1.5))
def test_refuses_other_rates(rate):
  with pytest.raises(ValueError, match="must be in"):
    dropout(jax.random.key(0), jnp.ones(3), rate)


def test_a_sparse_matrix_and_its_transpose_lose_the_same_entries():
  matrix = sp.random(20, 7, density=0.4, random_state=0, dtype=np.float32, format="csr")
  a, key = sparse.from_scipy(matrix, ordered=True), jax.random.key(0)
  found = dropout_sparse(key, a, 0.5)
  dense = np.asarray(sparse.matmul(found, jnp.eye(7)))
  kept = dense != 0
  np.testing.assert_allclose(dense, np.where(kept, matrix.toarray() / 0.5, 0), rtol=1e-6)
  assert 0.2 < kept[matrix.toarray() != 0].mean() < 0.8
  gradient = jax.grad(lambda h: jnp.sum(jnp.sin(sparse.matmul(found, h))))(jnp.ones((7, 2)))
  expected = jax.grad(lambda h: jnp.sum(jnp.sin(dense @ h)))(jnp.ones((7, 2)))
  np.testing.assert_allclose(gradient, expected, atol=1e-5)
  np.testing.assert_array_equal(dropout_sparse(None, a, 0.5).matrix.values, a.matrix.values)
  with pytest.raises(ValueError, match="ordered=True"):
    dropout_sparse(key, sparse.from_scipy(matrix), 0.5)


def test_sparse_matrices_are_dropped_for_each_seed_alike_alone_and_together():
  matrix = sp.random(9, 5, density=0.5, random_state=1, dtype=np.float32, format="csr")
  a, keys = sparse.from_scipy(matrix, ordered=True), jax.random.split(jax.random.key(1), 3)
  h = jax.random.normal(jax.random.key(2), (3, 5, 2))

  def product(key, h):
    return sparse.matmul(dropout_sparse(key, a, 0.5), h)

  together = jax.jit(jax.vmap(product))(keys, h)
  for i in range(3):
    np.testing.assert_allclose(together[i], product(keys[i], h[i]), atol=1e-6)
