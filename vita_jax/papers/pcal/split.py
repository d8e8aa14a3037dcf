"""Which rows train, validate and test, and what is learned from the training rows alone.

All of it is JAX code in the state's key, so that each seed has a split of its own, replicated or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

BINS = 8  # of a continuous attribute, for the adversaries in training


class Parts(NamedTuple):
  """How many rows train, validate and test."""

  train: int
  validation: int
  test: int


def parts(n_rows: int) -> Parts:
  """60 / 20 / 20 percent."""
  train, validation = (6 * n_rows) // 10, (2 * n_rows) // 10
  return Parts(train, validation, n_rows - train - validation)


def shuffle_rows(key: jax.Array, groups: np.ndarray, strata: np.ndarray) -> jax.Array:
  """int32 [n]: all rows in an order of which any stretch has nearly the shares of the strata of the whole.

  Rows of one group come one after the other, so that at most one group lies across a border between parts.

  Args:
    groups, strata: int32 [n]; a group is in the stratum of its first row.
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


def host_parts(rows: Any, groups: np.ndarray, sizes: Parts) -> dict[str, np.ndarray]:
  """The row numbers of "train", "validation" and "test", int [.]; no group is in two of them.

  Rows of a group that lies across a border stay in the earlier part and are left out of the later one.
  """
  rows, found, taken = np.asarray(rows), {}, np.zeros(0, groups.dtype)
  borders = np.cumsum(sizes)[:-1]
  for name, part in zip(sizes._fields, np.split(rows, borders), strict=True):
    found[name] = part[~np.isin(groups[part], taken)]
    taken = np.concatenate([taken, groups[part]])
  return found


def fit_scaler(numbers: jax.Array) -> dict[str, jax.Array]:
  """`median`, `mean`, `std` float32 [a] of rows [n, a]; NaN counts as the median; std 1 where constant."""
  median = jnp.nan_to_num(jnp.nanmedian(numbers, axis=0))
  filled = jnp.where(jnp.isnan(numbers), median, numbers)
  mean, std = jnp.mean(filled, axis=0), jnp.std(filled, axis=0)
  constant = std <= 1e-6 * jnp.maximum(jnp.max(jnp.abs(filled), axis=0, initial=0.0), 1.0)
  return {"median": median, "mean": mean, "std": jnp.where(constant, 1.0, std)}


def learn(
  rows: jax.Array, arrays: Mapping[str, jax.Array], n_classes: tuple[int, ...], sizes: Parts
) -> dict[str, Any]:
  """What the state keeps of the training rows.

  Args:
    rows: int32 [n], from `shuffle_rows`. arrays: `numbers`, `codes`, `private` of all rows (inputs.Task).
    n_classes: of each attribute, 0 for a continuous one, which is cut into 8 bins of equal counts.

  Returns:
    `scaler` (see `fit_scaler`); `edges` float32 [K, 7], of the bins; `prior` float32 [K, C], class shares.
  """
  train = rows[: sizes.train]
  private = arrays["private"][train]
  levels = jnp.arange(1, BINS) / BINS
  edges = jnp.quantile(private, levels, axis=0).T
  labels = class_labels(private, edges, n_classes)
  width = max(n or BINS for n in n_classes)
  shares = jnp.mean(labels[..., None] == jnp.arange(width), axis=1)
  return {"scaler": fit_scaler(arrays["numbers"][train]), "edges": edges, "prior": shares}


def class_labels(private: jax.Array, edges: jax.Array, n_classes: tuple[int, ...]) -> jax.Array:
  """int32 [K, n] class or bin numbers of private values [n, K]."""
  bins = jnp.sum(private[:, :, None] > edges[None], axis=-1)
  continuous = np.array([n == 0 for n in n_classes])
  return jnp.where(continuous, bins, private).astype(jnp.int32).T


def class_mask(n_classes: tuple[int, ...]) -> np.ndarray:
  """bool [K, C]: the classes that each attribute has."""
  widths = np.array([n or BINS for n in n_classes])
  return np.arange(widths.max()) < widths[:, None]
