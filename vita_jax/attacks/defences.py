"""Defences: what is done to any graph before a network reads it, in training and under attack alike.

| defence | what it does |
|---|---|
| `jaccard` | links of nodes whose features have too little in common carry nothing |
| `low_rank` | the adjacency matrix is replaced by its best approximation of low rank |

Both are pure functions inside a program, so that an attacked graph is defended anew and an attacker who
follows gradients sees through them: `logits(defended(graph))` is a network that any attack can be made on.
Such an adaptive attack is what a defence should be judged by (Mujkanovic et al., NeurIPS 2022).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jraph import GraphsTuple

from vita_jax.attacks.space import RowChange, network_graph
from vita_jax.base.choose import choose
from vita_jax.data.graphs import Graph
from vita_jax.nn.graph import Adjacency, LowRank, edge_weights, undirected_graph
from vita_jax.nn.sparse import Sparse, csr_matmul

DEFENCES = ("none", "jaccard", "low_rank")
_PAIRS_AT_ONCE = 4096  # of the similarity: two rows of features each
_ROUNDS, _POWER, _MORE = 10, 4, 10  # of subspace iteration, products in each, directions beyond the rank
_ROUNDS_NEAR = 4  # from the directions of a graph that differs in a few links


class Defence(NamedTuple):
  """Which defence, by its name, and its settings; hashable, so that programs may depend on it."""

  name: str = "none"
  threshold: float = 0.01
  rank: int = 10


Alike = Callable[[Any, Any], jax.Array]  # (u, v) int [P] -> float32 [P], how much two nodes have in common


def defended(
  graph: GraphsTuple, alike: Alike, n_nodes: int, defence: Defence, *, near: Any = None
) -> GraphsTuple | Adjacency:
  """Returns what a network is to read in place of a graph; see `jaccard` and `low_rank`.

  Args:
    graph: with or without weights.
    alike: for jaccard, e.g. `functools.partial(similarity, features != 0)`.
    n_nodes: N, for low_rank.
    defence: "none" returns the graph.
    near: for low_rank, see there.

  Raises:
    ValueError: an unknown name.
  """
  choose("defence", defence.name, DEFENCES)
  if defence.name == "jaccard":
    return jaccard(graph, alike, threshold=defence.threshold)
  if defence.name == "low_rank":
    return low_rank(graph, n_nodes, rank=defence.rank, near=near)
  return graph


class Known(NamedTuple):
  """What a defence computes of the clean graph once, for all graphs that attacks make of it.

  Attributes:
    table: for jaccard, see `looked_up`; else None.
    near: for low_rank, see there; else None.
  """

  table: Any = None
  near: Any = None


def known_of(graph: Graph, defence: Defence) -> Known:
  """Computes what a defence can know of the clean graph."""
  if defence.name == "jaccard":
    return Known(table=similarity_table(graph.features))
  if defence.name == "low_rank":
    find = functools.partial(directions, n_nodes=len(graph.labels), rank=defence.rank)
    return Known(near=jax.jit(find)(network_graph(graph)))
  return Known()


def similarity(present: Any, u: Any, v: Any) -> jax.Array:
  """Computes `|a and b| / |a or b|` of the features that two nodes have, for each pair: float32 [P].

  Args:
    present: bool [N, F].
    u: int [P].
    v: int [P].

  Returns:
    0 where neither has any.

  Examples:
    >>> similarity(np.array([[True, True], [True, False]]), np.array([0]), np.array([1])).tolist()
    [0.5]
  """
  present = jnp.asarray(present)

  def one(pair):
    a, b = present[pair[0]], present[pair[1]]
    return jnp.sum(a & b) / jnp.maximum(jnp.sum(a | b), 1)

  pairs = jnp.asarray(u, jnp.int32), jnp.asarray(v, jnp.int32)
  return jax.lax.map(one, pairs, batch_size=_PAIRS_AT_ONCE).astype(jnp.float32)


def similarity_table(features: sp.csr_matrix) -> np.ndarray:
  """Computes `similarity` of all pairs of nodes on the host, float32 [N, N]: for many look-ups."""
  present = sp.csr_matrix(features != 0, dtype=np.float32)
  both = np.asarray((present @ present.T).todense())
  counts = np.asarray(present.sum(axis=1)).ravel()
  return (both / np.maximum(counts[:, None] + counts - both, 1)).astype(np.float32)


def looked_up(table: Any, features: Sparse, changed: RowChange | None, u: Any, v: Any) -> jax.Array:
  """Returns `similarity` of pairs from a table, where features of one node may have changed.

  Args:
    table: from `similarity_table`.
    features: of the same nodes, of any normalisation.
    changed: `graph.globals` of an attacked graph.
    u: int [P].
    v: int [P].
  """
  found = jnp.asarray(table)[u, v]
  if changed is None:
    return found
  # Of the changed node with all others: from its features, which the table does not know.
  here = (changed.row != 0).astype(jnp.float32)
  present = jax.tree.map(jnp.asarray, features)
  ones = (present.matrix.values != 0).astype(jnp.float32)
  matrix = present.matrix._replace(values=ones)
  both, counts = csr_matmul(matrix, jnp.stack([here, jnp.ones_like(here)], axis=1)).T
  row = both / jnp.maximum(counts + here.sum() - both, 1)
  u, v = jnp.asarray(u), jnp.asarray(v)
  return jnp.where(u == changed.node, row[v], jnp.where(v == changed.node, row[u], found))


def jaccard(graph: GraphsTuple, alike: Alike, *, threshold: float) -> GraphsTuple:
  """Returns the graph with weight 0 on links of nodes that share less than `threshold` of their features.

  Self-loops stay. Gradients in the weights of the links that stay pass through.

  Args:
    graph: with or without weights.
    alike: see `defended`.
    threshold: 0 to 1; 0 lets all links stay, a tiny one drops those without a common feature.

  Source: Wu et al., IJCAI 2019 (arXiv 1903.01610).
  """
  kept = alike(graph.senders, graph.receivers) >= threshold
  kept |= jnp.asarray(graph.senders) == jnp.asarray(graph.receivers)
  return graph._replace(edges={"weight": edge_weights(graph) * kept})


def without_unlike_links(graph: Graph, *, threshold: float) -> Graph:
  """Returns the graph on the host without the links that `jaccard` gives weight 0.

  Raises:
    ValueError: no link is left.
  """
  present = np.asarray((graph.features != 0).todense())
  kept = np.asarray(similarity(present, *graph.edges.T)) >= threshold
  if not kept.any():
    raise ValueError(f"no link of graph '{graph.name}' joins nodes that share {threshold:g} of features")
  weight = None if graph.edge_weight is None else graph.edge_weight[kept]
  return graph._replace(edges=graph.edges[kept], edge_weight=weight)


def low_rank(graph: GraphsTuple, n_nodes: int, *, rank: int, near: Any = None) -> Adjacency:
  """Returns matrices of the adjacency matrix A_r of rank r that is nearest to A, as products.

  `gcn` is D^-1/2 (A_r + I) D^-1/2 with D = 1 + max(0, row sums of A_r), since A_r may have negative entries;
  `gcn_no_self` is the same of A_r without its diagonal and without the ones. The others are absent:
  networks that read edges cannot be defended so. The r directions of the largest eigenvalues by size are
  found by subspace iteration from a fixed start; gradients hold them fixed, and pass through A beside them.
  On the CPU its QR is LAPACK's, whose threads wait actively: on a busy machine it is up to a hundred times
  slower than with one thread, `threadpoolctl.threadpool_limits(1)`, as attacks and `robustness` set it.

  Args:
    graph: undirected, both directions of each link; with or without weights.
    n_nodes: N.
    rank: r, at most N.
    near: `directions` of a graph that differs in a few links, from which fewer iterations are enough.

  Raises:
    ValueError: a rank below 1 or above N.

  Source: Entezari et al., WSDM 2020.
  """
  product = functools.partial(_product, graph.senders, graph.receivers)
  weight = edge_weights(graph)
  basis = directions(graph, n_nodes, rank=rank, near=near)[:, :rank]
  core = basis.T @ product(weight, basis)
  core = (core + core.T) / 2
  degree = basis @ (core @ basis.sum(0))
  own = jnp.sum((basis @ core) * basis, axis=1)
  with_self, others = 1 + jnp.maximum(degree, 0), jnp.maximum(degree - own, 0)
  ones = jnp.ones(n_nodes)
  scale = jnp.where(others > 0, jax.lax.rsqrt(jnp.where(others > 0, others, 1.0)), 0.0)
  return Adjacency(
    senders=None,
    receivers=None,
    gcn=LowRank(basis, core, ones, jax.lax.rsqrt(with_self)),
    gcn_no_self=LowRank(basis, core, -own, scale),
    mean=None,
    own=None,
  )


def low_rank_of(graph: Graph, *, rank: int) -> Adjacency:
  """Returns `low_rank` of a graph on the host."""
  nodes, weights = graph.labels, {"edge_weight": graph.edge_weight, "loop_weight": graph.loop_weight}
  found = jax.jit(functools.partial(low_rank, n_nodes=len(nodes), rank=rank))(
    undirected_graph(graph.edges, graph.self_loops, nodes, **weights)
  )
  return jax.tree.map(np.asarray, found)


def _product(senders: Any, receivers: Any, weight: jax.Array, h: jax.Array) -> jax.Array:
  return jax.ops.segment_sum(weight[:, None] * h[senders], receivers, h.shape[0])


def directions(graph: GraphsTuple, n_nodes: int, *, rank: int, near: Any = None) -> jax.Array:
  """Finds eigenvectors of the adjacency matrix with the largest eigenvalues by size, in that order.

  Returns:
    float32 [N, min(r + 10, N)], orthonormal, without gradient; the first r are found well.

  See `low_rank` for the arguments and what is raised.
  """
  if not 1 <= rank <= n_nodes:
    raise ValueError(f"adjacency rank {rank} must be between 1 and the {n_nodes} nodes")
  weight = jax.lax.stop_gradient(edge_weights(graph))
  product = functools.partial(_product, graph.senders, graph.receivers, weight)
  start = jax.random.normal(jax.random.key(0), (n_nodes, min(rank + _MORE, n_nodes)))

  def again(_, q):
    for _ in range(_POWER):
      q = product(q)
    return jnp.linalg.qr(q)[0]

  rounds = _ROUNDS if near is None else _ROUNDS_NEAR
  found = jax.lax.fori_loop(0, rounds, again, jnp.linalg.qr(start)[0] if near is None else jnp.asarray(near))
  small = found.T @ product(found)
  values, vectors = jnp.linalg.eigh((small + small.T) / 2)
  return jax.lax.stop_gradient(found @ vectors[:, jnp.argsort(-jnp.abs(values))])
