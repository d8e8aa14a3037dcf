"""Constant sparse matrices times dense matrices, differentiable and vmap-friendly.

On the CPU the product runs in the compressed-sparse-row kernel that ships with jax; elsewhere it is
a gather and a sorted segment sum.  Batches are folded into one bigger product, except on the CPU where
only the values of a matrix differ.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import sparse as jax_sparse

Array = Any  # of numpy on the host, of JAX inside a program


class Csr(NamedTuple):
  """Non-zeros in row order: all int32 but `values` (float32 [nnz])."""

  values: Array
  rows: Array  # [nnz], non-decreasing
  columns: Array  # [nnz]
  row_starts: Array  # [n_rows + 1]; row i owns positions row_starts[i] .. row_starts[i + 1]


class Sparse(NamedTuple):
  """A constant matrix [n_rows, n_columns] and its transpose, each in row order.

  `order` int32 [nnz] says where in `matrix` each value of `transpose` is; None where nobody asked for it.
  """

  matrix: Csr
  transpose: Csr
  order: Array | None = None


class RowReplaced(NamedTuple):
  """A sparse matrix one row of which, number `row` (int32 scalar), is `values` [n_columns] instead."""

  matrix: Sparse
  row: Array
  values: Array


def from_scipy(matrix: Any, *, n_rows: int | None = None, ordered: bool = False) -> Sparse:
  """Returns host arrays of a scipy sparse matrix.

  Args:
    matrix: [R, F].
    n_rows: above R, it appends empty rows (padding nodes).
    ordered: whether `order` is wanted, which `dropout_sparse` reads.

  Raises:
    ValueError: n_rows < R.
  """
  n_rows = matrix.shape[0] if n_rows is None else n_rows
  if n_rows < matrix.shape[0]:
    raise ValueError(f"n_rows={n_rows} is below the {matrix.shape[0]} rows of the matrix; raise it")
  padded = matrix.tocsr().copy()
  padded.resize(n_rows, matrix.shape[1])
  found = _csr(padded)
  order = np.argsort(found.columns, kind="stable").astype(np.int32) if ordered else None
  return Sparse(found, _csr(padded.T.tocsr()), order)


def _csr(matrix: Any) -> Csr:
  matrix.sum_duplicates()  # also sorts the columns within each row
  rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
  return Csr(
    matrix.data.astype(np.float32), rows, matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
  )


def widened(a: Csr, n_values: int) -> Csr:
  """Appends zeros to the last row of a matrix on the host until it has `n_values` entries."""
  more, last = n_values - len(a.values), len(a.row_starts) - 2
  starts = np.array(a.row_starts)
  starts[-1] += more
  rows = np.pad(a.rows, (0, more), constant_values=last)
  return Csr(np.pad(a.values, (0, more)), rows, np.pad(a.columns, (0, more)), starts)


def shape(a: Sparse) -> tuple[int, int]:
  """Returns (n_rows, n_columns)."""
  return a.matrix.row_starts.shape[0] - 1, a.transpose.row_starts.shape[0] - 1


@jax.custom_vjp
def matmul(a: Sparse, h: jax.Array) -> jax.Array:
  """Computes a [R, F] @ h [F, d] -> [R, d] in h's dtype, accumulated in float32 at least.

  The gradient with respect to h is the product with the stored transpose; `a` is a constant (its
  gradient is zero).
  """
  return csr_matmul(a.matrix, h)


def _matmul_forward(a, h):
  return csr_matmul(a.matrix, h), a


def _matmul_backward(a, g):
  return None, csr_matmul(a.transpose, g)


matmul.defvjp(_matmul_forward, _matmul_backward)


@jax.custom_batching.custom_vmap
def csr_matmul(a: Csr, h: jax.Array) -> jax.Array:
  """Computes a [R, F] @ h [F, d] -> [R, d]; no derivative of its own (see `matmul`, `graph.propagate`)."""
  dtype = jnp.promote_types(jnp.promote_types(a.values.dtype, h.dtype), jnp.float32)
  y = lax.platform_dependent(
    a._replace(values=a.values.astype(dtype)), h.astype(dtype), cpu=_csr_kernel, default=_segment_sum
  )
  return y.astype(h.dtype)


def _csr_kernel(a, h):
  n_rows, width = a.row_starts.shape[0] - 1, h.shape[1]
  matrix = jax_sparse.BCSR((a.values, a.columns, a.row_starts), shape=(n_rows, h.shape[0]))
  # The kernel is up to 4 times slower when the width is no multiple of its 8 lanes.
  return (matrix @ jnp.pad(h, ((0, 0), (0, -width % 8))))[:, :width]


def _segment_sum(a, h):
  n_rows = a.row_starts.shape[0] - 1
  return jax.ops.segment_sum(
    a.values[:, None] * h[a.columns], a.rows, num_segments=n_rows, indices_are_sorted=True
  )


@csr_matmul.def_vmap
def _csr_matmul_batched(size, batched, a, h):
  a_batched, h_batched = batched
  if not any(a_batched):
    # One matrix, many h: the batch joins the feature axis, so each gathered row is contiguous.
    folded = jnp.moveaxis(h, 0, 1).reshape(h.shape[1], -1)
    y = csr_matmul(a, folded)
    return jnp.moveaxis(y.reshape(y.shape[0], size, h.shape[2]), 1, 0), True
  many = functools.partial(_block_diagonal, size, a_batched, h_batched)
  if a_batched == Csr(values=True, rows=False, columns=False, row_starts=False):
    # The places are the same: on a CPU the products take turns, and nothing is copied.
    turns = functools.partial(_in_turn, h_batched)
    return lax.platform_dependent(a, h, cpu=turns, default=many), True
  return many(a, h), True


def _in_turn(h_batched, a, h):
  def one(values, h):
    return csr_matmul(a._replace(values=values), h)

  if h_batched:
    return lax.map(lambda pair: one(*pair), (a.values, h))
  return lax.map(lambda values: one(values, h), a.values)


def _block_diagonal(size, a_batched, h_batched, a, h):
  values, rows, columns, starts = (
    x if b else jnp.broadcast_to(x, (size, *x.shape)) for x, b in zip(a, a_batched, strict=True)
  )
  n_rows, n_values = starts.shape[1] - 1, values.shape[1]
  block = jnp.arange(size, dtype=jnp.int32)[:, None]
  if h_batched:
    columns = columns + block * h.shape[1]
    h = jnp.reshape(h, (-1, h.shape[2]))
  starts = jnp.append((starts[:, :-1] + block * n_values).ravel(), jnp.int32(size * n_values))
  # jnp.ravel: what vmap hands over are no arrays with methods in jax 0.8.
  diagonal = Csr(jnp.ravel(values), (rows + block * n_rows).ravel(), jnp.ravel(columns), starts)
  return csr_matmul(diagonal, h).reshape(size, n_rows, h.shape[-1])
