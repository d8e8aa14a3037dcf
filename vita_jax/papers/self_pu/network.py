"""How a network is applied to rows as they are stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Network(NamedTuple):
  """`forward(params, stats, x, mask=None) -> (logits [n], new stats)` in training mode, and
  `logits(params, stats, x) -> [n]` in evaluation mode; x is a batch as it is stored."""

  forward: Callable
  logits: Callable


def make_network(model: Any, prepare: Callable[[Any], Any]) -> Network:
  """The network of a linen module (see `model.py`) whose inputs are `prepare(stored rows)`."""

  def forward(params, stats, x, mask=None):
    variables = {"params": params, "batch_stats": stats}
    logits, new = model.apply(variables, prepare(x), train=True, mask=mask, mutable=["batch_stats"])
    return logits, new["batch_stats"]

  def logits(params, stats, x):
    return model.apply({"params": params, "batch_stats": stats}, prepare(x), train=False)

  return Network(forward, logits)


def gather(tree: Any, rows: jax.Array) -> Any:
  """Rows int32 [n] (in bounds) of every array of a tree."""
  return jax.tree.map(lambda x: x.at[rows].get(mode="promise_in_bounds"), tree)


def in_chunks(network: Network, params: Any, stats: Any, x: Any, rows: jax.Array, chunk: int) -> jax.Array:
  """Logits [n] in evaluation mode of rows int32 [n] of a table x, `chunk` at a time."""
  n = rows.shape[0]
  padded = jnp.concatenate([rows, jnp.zeros(-n % chunk, rows.dtype)]).reshape(-1, chunk)
  return jax.lax.map(lambda some: network.logits(params, stats, gather(x, some)), padded).reshape(-1)[:n]
