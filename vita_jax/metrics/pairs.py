"""Metrics are `(sum, weight)` pairs, added over batches, shards and steps and divided once on the host.

A value that was observed at one step, e.g. a validation loss computed inside a training step, is no sum: a
mean over steps would be a number that no step had. It is a `Last`, of which adding keeps the later one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


def mean(values: jax.Array, mask: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
  """Returns `(sum of values, number of values)`; `mask` (0/1, shape of `values`) says which of them count."""
  values = jnp.asarray(values, jnp.float32)
  if mask is None:
    return jnp.sum(values), jnp.asarray(values.size, jnp.float32)
  return jnp.sum(jnp.where(mask > 0, values * mask, 0.0)), jnp.sum(mask.astype(jnp.float32))


def once(value: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns `(value, 1)`: a number that a step has computed already, averaged over steps."""
  return value, jnp.asarray(1.0)


class Last(NamedTuple):
  """An observation at one step: see `last`. `weight` is 1 where it was made and 0 where not."""

  value: Any
  weight: Any
  at: Any


def last(value: jax.Array, *, at: jax.Array, when: jax.Array | bool = True) -> Last:
  """Returns a number that belongs to one step: it is logged as of that step, and never averaged.

  Args:
    value: float scalar; not looked at where `when` is false.
    at: int32 scalar, how many steps of the stage the weights had taken that were observed: `t` if the step
      observes before it updates, `t + 1` if after.
    when: bool scalar, whether there is an observation at this step.
  """
  when = jnp.asarray(when)
  taken = jnp.where(when, jnp.asarray(value, jnp.float32), 0.0)
  return Last(taken, when.astype(jnp.float32), jnp.asarray(at, jnp.int32))


def accuracy(
  logits: jax.Array, labels: jax.Array, mask: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
  """Counts `(right argmaxes, rows)`: logits [..., C], labels int [...], mask [...]."""
  return mean(jnp.argmax(logits, axis=-1) == labels, mask)


def add(first: Any, second: Any) -> Any:
  """Adds two metrics `{name: pair}` with the same names; of `Last` values the second one stays, if made."""

  def one(a, b):
    if not isinstance(b, Last):
      return a[0] + b[0], a[1] + b[1]
    where = np.where if isinstance(b.weight, np.ndarray | np.generic) else jnp.where
    return Last(*(where(b.weight != 0, y, x) for x, y in zip(a, b, strict=True)))

  return {name: one(first[name], second[name]) for name in first}


def divide(metrics: Any) -> dict[str, Any]:
  """Divides on the host: name -> float, or [replicas] list; None where the weight is 0 (a frozen replica)."""

  def value(pair):
    total, weight = (np.asarray(x, np.float64) for x in pair[:2])
    ratio = np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight != 0)
    listed = [None if w == 0 else float(r) for r, w in zip(ratio.flat, weight.flat, strict=True)]
    return listed if total.ndim else listed[0]

  return {name: value(pair) for name, pair in metrics.items()}


def finite(metrics: Any) -> jax.Array:
  """Tells where every sum is finite: a bool scalar, or [replicas]."""
  checks = [jnp.isfinite(pair[0]) for pair in metrics.values()]
  return jnp.all(jnp.stack(checks), axis=0) if checks else jnp.asarray(True)
