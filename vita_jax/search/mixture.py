"""Mixtures of operations on the edges of a cell: their weights, and what is left when they are discrete.

An edge computes sum_o w_o o(x). The weights are a softmax of trained logits alpha (DARTS, ICLR 2019), or a
one-hot sample whose gradient is that of a softmax (straight-through Gumbel, as in FasterSeg, ICLR 2020).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.choose import choose

KINDS = ("softmax", "gumbel")


def mixing_weights(
  alpha: jax.Array, *, kind: str = "softmax", key: jax.Array | None = None, tau: jax.Array | float = 1.0
) -> jax.Array:
  """Computes the weights of operations [..., operations] from logits of that shape.

  softmax: softmax(alpha / tau). gumbel: y = softmax((log_softmax(alpha) + g) / tau) with g = -ln(-ln u); the
  result is the one-hot of its largest entry, with the gradient of y.

  Raises:
    ValueError: an unknown kind, or gumbel without a key.

  Examples:
    >>> mixing_weights(jnp.zeros(4)).tolist()
    [0.25, 0.25, 0.25, 0.25]
  """
  choose("kind", kind, KINDS)
  if kind == "softmax":
    return jax.nn.softmax(alpha / tau)
  if key is None:
    raise ValueError("kind is gumbel: give a key")
  noise = jax.random.gumbel(key, alpha.shape)
  soft = jax.nn.softmax((jax.nn.log_softmax(alpha) + noise) / tau)
  hard = jax.nn.one_hot(jnp.argmax(soft, axis=-1), alpha.shape[-1])
  return hard + soft - jax.lax.stop_gradient(soft)


def anneal(t: jax.Array, steps: int, *, first: float, last: float) -> jax.Array:
  """Computes a temperature at step t: from `first` geometrically to `last` at the end of `steps`.

  Examples:
    >>> float(anneal(jnp.asarray(5), 10, first=4.0, last=1.0))
    2.0
  """
  share = jnp.clip(t / max(steps, 1), 0.0, 1.0)
  return first * (last / first) ** share


def strongest(alpha: jax.Array, *, keep: int = 2, zero: int = 0) -> jax.Array:
  """Makes a cell discrete: DARTS's rule.

  Node i has i + 1 edges, from the cell's input and the nodes before it, in a row. On each edge stands the
  best operation but `zero`; of each node's edges those `keep` whose best one has the largest weight stay. Of
  equal ones the first counts.

  Args:
    alpha: logits [..., edges, operations], edges = M (M + 1) / 2 for M nodes.
    keep: edges of a node that stay.
    zero: the operation that is nothing, and stands on edges that go.

  Returns:
    int32 [..., edges]: the operation of each edge.

  Raises:
    ValueError: a number of edges that no number of nodes has.

  Examples:
    >>> alpha = jnp.array([[9.0, 1.0, 2.0]] + [[0.0, 3.0, 1.0], [0.0, 1.0, 2.0]])  # two nodes
    >>> strongest(alpha, keep=1).tolist()
    [2, 1, 0]
  """
  weights = jax.nn.softmax(alpha).at[..., zero].set(-1.0)
  best, strength = jnp.argmax(weights, axis=-1), jnp.max(weights, axis=-1)
  kept = []
  for start, end in node_edges(alpha.shape[-2]):
    order = jnp.argsort(-strength[..., start:end], axis=-1, stable=True)
    kept.append(jnp.argsort(order, axis=-1) < keep)
  return jnp.where(jnp.concatenate(kept, axis=-1), best, zero).astype(jnp.int32)


def node_edges(edges: int) -> list[tuple[int, int]]:
  """Returns for each node of a cell the range [start, end) of its edges.

  Raises:
    ValueError: a number of edges that no number of nodes has.

  Examples:
    >>> node_edges(6)
    [(0, 1), (1, 3), (3, 6)]
  """
  nodes = int((np.sqrt(8 * edges + 1) - 1) / 2)
  if nodes < 1 or nodes * (nodes + 1) // 2 != edges:
    raise ValueError(f"{edges} edges: a cell of M nodes has M (M + 1) / 2, e.g. 1, 3, 6 or 10")
  return [(i * (i + 1) // 2, (i + 1) * (i + 2) // 2) for i in range(nodes)]
