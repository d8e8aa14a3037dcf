"""Rows of tables on the device, inside a compiled step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def gather(tree: Any, rows: jax.Array) -> Any:
  """Gathers rows int32 [n] (in bounds) of every array of a tree."""
  return jax.tree.map(lambda x: x.at[rows].get(mode="promise_in_bounds"), tree)


def map_rows(fn: Callable[[Any], jax.Array], table: Any, rows: jax.Array, *, chunk: int) -> jax.Array:
  """Computes `fn` of rows of a table, some at a time: memory as of one chunk.

  Args:
    fn: rows (a tree of arrays [chunk, ...]) -> [chunk].
    table: a tree of arrays [N, ...].
    rows: int32 [n], in bounds.
    chunk: how many rows at a time; the last chunk is padded with row 0.

  Returns:
    [n], in the order of `rows`.
  """
  n = rows.shape[0]
  padded = jnp.concatenate([rows, jnp.zeros(-n % chunk, rows.dtype)]).reshape(-1, chunk)
  return jax.lax.map(lambda some: fn(gather(table, some)), padded).reshape(-1)[:n]
