"""Sparse products against scipy and dense autodiff, one at a time and batched."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

from vita_jax.nn import sparse
from vita_jax.nn.linear import Linear


@pytest.fixture(params=(5, 8))
def case(request):
  """A 30 x 17 matrix with empty rows and columns, and an h of varying width."""
  rng = np.random.default_rng(0)
  matrix = sp.random(30, 17, density=0.2, random_state=1, dtype=np.float32).toarray()
  matrix[3], matrix[:, 5] = 0, 0
  return sp.csr_matrix(matrix), rng.normal(size=(17, request.param)).astype(np.float32)


def test_equals_scipy(case):
  matrix, h = case
  a = sparse.from_scipy(matrix)
  assert sparse.shape(a) == (30, 17)
  np.testing.assert_allclose(jax.jit(sparse.matmul)(a, h), matrix @ h, atol=1e-6)


def test_platform_paths_agree(case):
  matrix, h = case
  a = sparse.from_scipy(matrix).matrix
  np.testing.assert_allclose(
    sparse._csr_kernel(jax.tree.map(jnp.asarray, a), jnp.asarray(h)),
    sparse._segment_sum(jax.tree.map(jnp.asarray, a), jnp.asarray(h)),
    atol=1e-6,
  )


def test_gradient_equals_dense(case):
  matrix, h = case
  a, dense = sparse.from_scipy(matrix), matrix.toarray()
  got = jax.grad(lambda h: jnp.sum(jnp.sin(sparse.matmul(a, h))))(h)
  want = jax.grad(lambda h: jnp.sum(jnp.sin(dense @ h)))(h)
  np.testing.assert_allclose(got, want, atol=1e-5)


def test_batched_equals_one_by_one(case):
  matrix, h = case
  a, dense = sparse.from_scipy(matrix), matrix.toarray()
  many = np.stack([h, 2 * h, h - 1])

  def loss(h):
    return jnp.sum(jnp.sin(sparse.matmul(a, h)))

  want = jax.vmap(jax.grad(lambda h: jnp.sum(jnp.sin(dense @ h))))(many)
  np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(loss)))(many), want, atol=1e-5)
  np.testing.assert_allclose(jax.grad(lambda m: jax.vmap(loss)(m).sum())(many), want, atol=1e-5)
  np.testing.assert_allclose(
    jax.vmap(jax.vmap(lambda h: sparse.matmul(a, h)))(many[None])[0], dense @ many, atol=1e-5
  )


def test_batched_matrix_is_block_diagonal(case):
  matrix, h = case
  matrices = [matrix, matrix * 2, sp.csr_matrix(matrix.toarray()[::-1])]
  stacked = jax.tree.map(lambda *x: jnp.stack(x), *map(sparse.from_scipy, matrices))
  want = np.stack([m @ h for m in matrices])
  np.testing.assert_allclose(jax.vmap(sparse.matmul, (0, None))(stacked, h), want, atol=1e-6)
  hs = np.stack([h, h + 1, h + 2])
  want = np.stack([m @ x for m, x in zip(matrices, hs, strict=True)])
  np.testing.assert_allclose(jax.vmap(sparse.matmul)(stacked, hs), want, atol=1e-5)
  got = jax.vmap(jax.grad(lambda h, a: jnp.sum(sparse.matmul(a, h) ** 2)))(hs, stacked)
  want = np.stack([2 * (m.T @ (m @ x)) for m, x in zip(matrices, hs, strict=True)])
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_batched_values_equal_one_by_one_and_the_block_diagonal(case):
  matrix, h = case
  a = sparse.from_scipy(matrix).matrix
  many = np.stack([a.values, 2 * a.values, np.roll(a.values, 1)])
  hs = np.stack([h, h + 1, h + 2])
  for width, arguments in ((None, h), (0, hs)):
    got = jax.vmap(lambda v, h: sparse.csr_matmul(a._replace(values=v), h), (0, width))(many, arguments)
    want = [
      sp.csr_matrix((v, a.columns, a.row_starts), matrix.shape) @ x
      for v, x in zip(many, np.broadcast_to(arguments, hs.shape), strict=True)
    ]
    np.testing.assert_allclose(got, want, atol=1e-5)
    batched = sparse.Csr(values=True, rows=False, columns=False, row_starts=False)
    block = sparse._block_diagonal(3, batched, width == 0, a._replace(values=jnp.asarray(many)), arguments)
    np.testing.assert_allclose(block, want, atol=1e-5)


def test_one_batch_is_one_product():
  matrix = sp.random(30, 17, density=0.2, random_state=1, format="csr")
  a = sparse.from_scipy(matrix)
  jaxpr = str(jax.make_jaxpr(jax.vmap(lambda h: sparse.matmul(a, h)))(jnp.ones((10, 17, 4))))
  assert "f32[17,40]" in jaxpr  # the ten seeds sit side by side in the feature axis


def test_runs_in_a_while_loop(case):
  matrix, h = case
  a, dense = sparse.from_scipy(matrix), matrix.toarray()
  out = jax.jit(
    lambda h: jax.lax.fori_loop(
      0, 3, lambda _, h: h - 0.1 * jax.grad(lambda h: jnp.sum(sparse.matmul(a, h) ** 2))(h), h
    )
  )(h)
  want = h
  for _ in range(3):
    want = want - 0.2 * dense.T @ (dense @ want)
  np.testing.assert_allclose(out, want, rtol=1e-4, atol=1e-4)


def test_padding_rows_and_types():
  matrix = sp.random(30, 17, density=0.2, random_state=1, format="coo", dtype=np.float64)
  a = sparse.from_scipy(matrix, n_rows=32)
  assert sparse.shape(a) == (32, 17) and a.matrix.values.dtype == np.float32
  h = jnp.ones((17, 3), jnp.bfloat16)
  y = sparse.matmul(a, h)
  assert y.dtype == jnp.bfloat16 and not np.asarray(y[30:], np.float32).any()
  np.testing.assert_allclose(np.asarray(y[:30], np.float32), matrix.toarray() @ np.ones((17, 3)), rtol=1e-2)
  with pytest.raises(ValueError, match="n_rows=8"):
    sparse.from_scipy(matrix, n_rows=8)


def test_no_non_zeros():
  a = sparse.from_scipy(sp.csr_matrix((4, 3)))
  np.testing.assert_array_equal(sparse.matmul(a, jnp.ones((3, 2))), np.zeros((4, 2)))


def test_one_row_may_be_replaced_inside_a_linear_map():
  matrix = sp.random(6, 4, density=0.5, random_state=2, dtype=np.float32, format="csr")
  values = np.arange(4, dtype=np.float32)
  layer = Linear(3)
  params = layer.init(jax.random.key(0), matrix.toarray())
  changed = matrix.toarray()
  changed[2] = values
  replaced = sparse.RowReplaced(sparse.from_scipy(matrix), jnp.int32(2), values)
  np.testing.assert_allclose(layer.apply(params, replaced), layer.apply(params, changed), atol=1e-6)


def test_zeros_that_are_appended_change_no_product():
  matrix = sp.random(6, 4, density=0.5, random_state=3, dtype=np.float32, format="csr")
  h = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
  wide = sparse.widened(sparse.from_scipy(matrix).matrix, matrix.nnz + 5)
  assert len(wide.values) == matrix.nnz + 5
  np.testing.assert_allclose(sparse.csr_matmul(wide, h), matrix @ h, atol=1e-6)
