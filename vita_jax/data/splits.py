"""Splits of the rows of a table: stratified, with the rows of one group on one side.

`shuffle_rows` is JAX code in a key, so that each seed of a replicated run has a split of its own;
`draw_split` does all of it on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Parts(NamedTuple):
  """How many rows train, validate and test."""

  train: int
  validation: int
  test: int


def part_sizes(n_rows: int) -> Parts:
  """Returns 60, 20 and 20 percent of the rows."""
  train, validation = (6 * n_rows) // 10, (2 * n_rows) // 10
  return Parts(train, validation, n_rows - train - validation)


def combinations(columns: Sequence[np.ndarray]) -> np.ndarray:
  """Numbers the distinct combinations of values of the columns, each [n]; returns int32 [n]."""
  numbers = np.zeros(len(columns[0]), np.int64)
  for column in columns:
    _, values = np.unique(column, return_inverse=True)
    _, numbers = np.unique(numbers * (values.max() + 1) + values, return_inverse=True)
  return numbers.astype(np.int32)


def shuffle_rows(key: jax.Array, groups: np.ndarray, strata: np.ndarray) -> jax.Array:
  """Orders all rows so that any stretch of them has nearly the shares of the strata of the whole.

  Rows of one group come one after the other, so that at most one group lies across a border between parts.

  Args:
    groups: int32 [n], counted from 0.
    strata: int32 [n], counted from 0; a group is in the stratum of its first row.

  Returns:
    int32 [n], row numbers.
  """
  n = len(groups)
  n_groups = int(groups.max()) + 1
  first = np.full(n_groups, n)
  np.minimum.at(first, groups, np.arange(n))
  stratum = jnp.asarray(strata[first])
  order = jnp.lexsort((jax.random.uniform(key, (n_groups,)), stratum))
  sizes = jnp.asarray(np.bincount(strata[first]))
  within = jnp.arange(n_groups) - (jnp.cumsum(sizes) - sizes)[stratum[order]]
  # Every stratum is spread evenly over (0, 1); the second key breaks ties between strata at random.
  place = (within + 0.5) / sizes[stratum[order]]
  ranked = order[jnp.lexsort((jax.random.uniform(jax.random.fold_in(key, 1), (n_groups,)), place))]
  position = jnp.zeros(n_groups, jnp.int32).at[ranked].set(jnp.arange(n_groups, dtype=jnp.int32))
  return jnp.argsort(position[groups], stable=True).astype(jnp.int32)


def cut_rows(rows: Any, groups: np.ndarray, sizes: Parts) -> dict[str, np.ndarray]:
  """Cuts shuffled rows into "train", "validation" and "test", int [.] each; no group is in two of them.

  Rows of a group that lies across a border stay in the earlier part and are left out of the later one.

  Args:
    rows: int [n], from `shuffle_rows`.
    groups: int32 [n], as given to it.
  """
  rows, found, taken = np.asarray(rows), {}, np.zeros(0, groups.dtype)
  borders = np.cumsum(sizes)[:-1]
  for name, part in zip(sizes._fields, np.split(rows, borders), strict=True):
    found[name] = part[~np.isin(groups[part], taken)]
    taken = np.concatenate([taken, groups[part]])
  return found


def cut_in_order(groups: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
  """Cuts rows in their order into parts, each border moved on to the end of its group.

  So the first part has the earliest rows; a group lies where its first row does, and all of it in one part.

  Args:
    groups: int [n], the group of each row.
    sizes: of the parts, which sum to n; later ones may lose rows to earlier ones.

  Returns:
    int64 row numbers of each part; a part may be empty.

  Examples:
    >>> [part.tolist() for part in cut_in_order(np.array([4, 4, 7, 4, 2]), (2, 3))]
    [[0, 1, 3], [2, 4]]
  """
  _, first, of_row = np.unique(groups, return_index=True, return_inverse=True)
  start = first[of_row]  # the first row of each row's group
  rows = np.argsort(start, kind="stable")
  borders = np.cumsum(sizes)[:-1]
  ends = [np.searchsorted(start[rows], start[rows[at - 1]], side="right") if at else 0 for at in borders]
  return np.split(rows, ends)


def draw_split(
  n_rows: int, *, strata: Sequence[np.ndarray] = (), groups: np.ndarray | None = None, seed: int = 0
) -> dict[str, np.ndarray]:
  """Draws "train", "validation" and "test" rows, 60 / 20 / 20 percent.

  Args:
    strata: labels [n] each; every combination of them has nearly the same share in each part.
    groups: int [n], counted from 0: rows of one group are in one part. None: every row is its own.
    seed: of the draw.
  """
  groups = np.arange(n_rows) if groups is None else groups
  order = shuffle_rows(jax.random.key(seed), groups, combinations([np.zeros(n_rows), *strata]))
  return cut_rows(order, groups, part_sizes(n_rows))
