"""What is learned from the training rows alone: scaling, class shares, bins of a continuous attribute.

All of it is JAX code, so that each seed has a split (`vita_jax.data.splits`) and statistics of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.data.splits import Parts

BINS = 8  # of a continuous attribute, for the adversaries in training


def fit_scaler(numbers: jax.Array) -> dict[str, jax.Array]:
  """Computes `median`, `mean` and `std`, float32 [a] each, of rows [n, a].

  NaN counts as the median; the std of a constant column is 1.
  """
  median = jnp.nan_to_num(jnp.nanmedian(numbers, axis=0))
  filled = jnp.where(jnp.isnan(numbers), median, numbers)
  mean, std = jnp.mean(filled, axis=0), jnp.std(filled, axis=0)
  constant = std <= 1e-6 * jnp.max(jnp.abs(filled), axis=0, initial=0.0)
  return {"median": median, "mean": mean, "std": jnp.where(constant, 1.0, std)}


def learn(
  rows: jax.Array, arrays: Mapping[str, jax.Array], n_classes: tuple[int, ...], sizes: Parts
) -> dict[str, Any]:
  """Learns what the state keeps of the training rows.

  Args:
    rows: int32 [n], from `shuffle_rows`; the first `sizes.train` train.
    arrays: `numbers`, `codes`, `private` of all rows (see `data.Task`).
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
  """Numbers the classes, or the bins, of private values float32 [n, K]; returns int32 [K, n]."""
  bins = jnp.sum(private[:, :, None] > edges[None], axis=-1)
  continuous = np.array([n == 0 for n in n_classes])
  return jnp.where(continuous, bins, private).astype(jnp.int32).T


def class_mask(n_classes: tuple[int, ...]) -> np.ndarray:
  """Returns which of C classes each attribute has, bool [K, C]."""
  counts = np.array([n or BINS for n in n_classes])
  return np.arange(counts.max()) < counts[:, None]
