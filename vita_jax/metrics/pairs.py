"""Metrics are `(sum, weight)` pairs, added over batches, shards and steps and divided once on the host."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def mean(values: jax.Array, mask: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
  """`(sum of values, number of values)`, each row weighted by `mask` (0/1, shape of `values`) if given."""
  values = jnp.asarray(values, jnp.float32)
  if mask is None:
    return jnp.sum(values), jnp.asarray(values.size, jnp.float32)
  return jnp.sum(jnp.where(mask > 0, values * mask, 0.0)), jnp.sum(mask.astype(jnp.float32))


def once(value: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns `(value, 1)`: a number that a step has computed already, averaged over steps."""
  return value, jnp.asarray(1.0)


def accuracy(
  logits: jax.Array, labels: jax.Array, mask: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
  """`(number of right argmaxes, number of rows)`: logits [..., C], labels int [...], mask [...]."""
  return mean(jnp.argmax(logits, axis=-1) == labels, mask)


def add(first: Any, second: Any) -> Any:
  """Adds two metric trees of the same structure."""
  return jax.tree.map(lambda a, b: a + b, first, second)


def divide(metrics: Any) -> dict[str, Any]:
  """Host side: name -> float, or [replicas] list; None where the weight is 0 (a frozen replica)."""

  def value(pair):
    total, weight = (np.asarray(x, np.float64) for x in pair)
    ratio = np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight != 0)
    listed = [None if w == 0 else float(r) for r, w in zip(ratio.flat, weight.flat, strict=True)]
    return listed if total.ndim else listed[0]

  return {name: value(pair) for name, pair in metrics.items()}


def finite(metrics: Any) -> jax.Array:
  """True where every sum is finite: a scalar, or [replicas]."""
  checks = [jnp.isfinite(total) for total, _ in metrics.values()]
  return jnp.all(jnp.stack(checks), axis=0) if checks else jnp.asarray(True)
