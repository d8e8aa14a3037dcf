"""Graphs as `jraph.GraphsTuple`, the adjacency matrices that networks multiply with, and propagation.

`adjacency_of` derives everything from the senders and receivers of any jraph graph, inside a compiled
program: batched (`jraph.batch`), padded (`jraph.pad_with_graphs`) and single graphs give the same numbers.
`adjacency` makes the same matrices on the host for one undirected graph, in the order that the fast product
of `nn.sparse` reads. It is a value of its own beside the graph: jraph's functions do not take it, so that it
cannot be batched or padded without its row numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jraph
import numpy as np
import numpy.typing as npt
import scipy.sparse

from vita_jax.nn import sparse


class Adjacency(NamedTuple):
  """The matrices of a graph of N nodes as E' weighted edges, one self edge per node among them.

  With A the weighted adjacency matrix (A_ij: weight of the edge from j into i; raw self-loops on its
  diagonal), D the row sums of A + I, and A0 the matrix A without its diagonal, D0 its row sums:

  Attributes:
    senders, receivers: int32 [E'].
    gcn: float32 [E'], D^-1/2 (A + I) D^-1/2.
    gcn_no_self: float32 [E'], D0^-1/2 A0 D0^-1/2; rows of degree 0 are 0.
    mean: float32 [E'], D0^-1 A0.
    own: float32 [E'], 1 on the one self edge of each node, else 0.
    attention: float32 [E'], A0 + I, by which `edge_softmax` weighs edges; None where all of it is 1.
    row_starts: int32 [N + 1], where each node's incoming edges start; None where edges are in no order.
    reverse: int32 [E'], position of the edge in the other direction; None where edges are in no order.
  """

  senders: sparse.Array
  receivers: sparse.Array
  gcn: sparse.Array
  gcn_no_self: sparse.Array
  mean: sparse.Array
  own: sparse.Array
  attention: sparse.Array | None = None
  row_starts: sparse.Array | None = None
  reverse: sparse.Array | None = None


class LowRank(NamedTuple):
  """A symmetric matrix `diag(s) (B C B^T + diag(d)) diag(s)` [N, N] of which no entry is written out.

  It may stand for `gcn` and `gcn_no_self` in an `Adjacency` that has no edges.

  Attributes:
    basis: float32 [N, r], B.
    core: float32 [r, r], C.
    diagonal: float32 [N], d.
    scale: float32 [N], s.
  """

  basis: sparse.Array
  core: sparse.Array
  diagonal: sparse.Array
  scale: sparse.Array


def undirected_graph(
  edges: npt.ArrayLike,
  self_loops: npt.ArrayLike,
  nodes: Any = None,
  *,
  edge_weight: npt.ArrayLike | None = None,
  loop_weight: npt.ArrayLike | None = None,
) -> jraph.GraphsTuple:
  """Builds a plain jraph graph with both directions of each edge, and the raw self-loops.

  Args:
    edges: int [E, 2], unique undirected edges u < v.
    self_loops: int [S], nodes whose raw adjacency has an entry on the diagonal.
    nodes: what becomes `graph.nodes`: arrays [N, ...] or trees of them. None: the graph is as large as its
      largest node number says.
    edge_weight: float [E], weight of each edge; None: 1.
    loop_weight: float [S], weight of each self-loop; None: 1.

  Returns:
    Host arrays; `graph.edges` is {"weight": float32 [2E + S]}, or None without weights.

  Raises:
    ValueError: see `adjacency`.
  """
  lengths = {len(leaf) for leaf in jax.tree.leaves(nodes)}
  if len(lengths) > 1:
    raise ValueError(f"nodes needs arrays of one common length, got {sorted(lengths)}")
  pairs, loops = np.asarray(edges, np.int64), np.asarray(self_loops, np.int64)
  largest = max(pairs.max(initial=-1), loops.max(initial=-1))
  n_nodes = lengths.pop() if lengths else int(largest) + 1
  weight, loop = _checked(pairs, loops, n_nodes, edge_weight, loop_weight)
  weighted = edge_weight is not None or loop_weight is not None
  return jraph.GraphsTuple(
    nodes=nodes,
    edges={"weight": np.concatenate([weight, weight, loop]).astype(np.float32)} if weighted else None,
    senders=np.concatenate([pairs[:, 0], pairs[:, 1], loops]).astype(np.int32),
    receivers=np.concatenate([pairs[:, 1], pairs[:, 0], loops]).astype(np.int32),
    globals=None,
    n_node=np.array([n_nodes], np.int32),
    n_edge=np.array([2 * len(pairs) + len(loops)], np.int32),
  )


def adjacency(
  edges: npt.ArrayLike,
  self_loops: npt.ArrayLike,
  n_nodes: int,
  *,
  edge_weight: npt.ArrayLike | None = None,
  loop_weight: npt.ArrayLike | None = None,
  pad_multiple: int = 1,
) -> Adjacency:
  """Computes the matrices of an undirected graph on the host, in float64, sorted for the fast product.

  Args:
    edges: see `undirected_graph`.
    self_loops: see there.
    edge_weight: see there.
    loop_weight: see there.
    n_nodes: N.
    pad_multiple: 1 = no padding; otherwise nodes and edges are padded to a multiple of it, with at least
      one padding node; padding edges join the first padding node to itself with weight 0.

  Returns:
    Host arrays; E' = 2E + N edges sorted by (receiver, sender); raw self-loops are in the self edges.

  Raises:
    ValueError: edges not [E, 2], not u < v, not unique or out of range; self_loops out of range or
      repeated; weights of another length, not finite or not above 0; pad_multiple < 1.

  Examples:
    >>> path = adjacency([[0, 1], [1, 2]], [], 3)
    >>> propagate(path, jnp.array([[1.0], [2.0], [4.0]]), path.mean)[:, 0].tolist()
    [2.0, 2.5, 2.0]
  """
  pairs, loops = np.asarray(edges, np.int64), np.asarray(self_loops, np.int64)
  weight, loop = _checked(pairs, loops, n_nodes, edge_weight, loop_weight)
  if pad_multiple < 1:
    raise ValueError(f"pad_multiple={pad_multiple} must be at least 1 (1 = no padding)")
  low, high = pairs.T
  every = np.arange(n_nodes)
  diagonal = np.ones(n_nodes)
  diagonal[loops] += loop
  senders = np.concatenate([low, high, every])
  receivers = np.concatenate([high, low, every])
  order = np.lexsort((senders, receivers))
  senders, receivers = senders[order], receivers[order]
  entry = np.concatenate([weight, weight, diagonal])[order]
  link = senders != receivers

  def total(values):
    return np.bincount(receivers, values, minlength=n_nodes)

  found = Adjacency(
    senders=senders.astype(np.int32),
    receivers=receivers.astype(np.int32),
    **{k: v.astype(np.float32) for k, v in _weights(np, entry, link, senders, receivers, total).items()},
    own=(~link).astype(np.float32),
    attention=None if edge_weight is None else np.where(link, entry, 1.0).astype(np.float32),
    row_starts=np.searchsorted(receivers, np.arange(n_nodes + 1)).astype(np.int32),
    # The k-th edge by (sender, receiver) is the reverse of the k-th by (receiver, sender).
    reverse=np.lexsort((receivers, senders)).astype(np.int32),
  )
  return found if pad_multiple == 1 else _padded(found, n_nodes, pad_multiple)


def adjacency_of(graph: jraph.GraphsTuple, n_nodes: int) -> Adjacency:
  """Computes the matrices of any jraph graph; traceable, and differentiable in the edge weights.

  Edges run from senders to receivers, in any order; repeated edges add up. `graph.edges` is read as
  weights where it is an array [E] or [E, 1], or a mapping with the key "weight"; other edge features are
  not read, and every edge then weighs 1. Weights must not be negative: the result would be NaN.

  Args:
    graph: one graph, or several by `jraph.batch` and `jraph.pad_with_graphs`.
    n_nodes: its number of nodes, all graphs and padding included; static.

  Returns:
    E' = E + N edges in no order: those of the graph, then the self edge of each node.

  Raises:
    ValueError: `graph.nodes` has another number of rows.
  """
  check_rows(graph, n_nodes)
  every = jnp.arange(n_nodes, dtype=jnp.int32)
  senders = jnp.concatenate([jnp.asarray(graph.senders, jnp.int32), every])
  receivers = jnp.concatenate([jnp.asarray(graph.receivers, jnp.int32), every])
  ones = jnp.ones(n_nodes, jnp.float32)
  entry = jnp.concatenate([edge_weights(graph), ones])
  link = senders != receivers

  def total(values):
    return jax.ops.segment_sum(values, receivers, n_nodes)

  own = jnp.concatenate([jnp.zeros_like(entry[: -n_nodes or None]), ones])
  return Adjacency(
    senders=senders,
    receivers=receivers,
    **_weights(jnp, entry, link, senders, receivers, total),
    own=own,
    attention=jnp.where(link, entry, own),  # a raw self-loop adds nothing to the one self edge
  )


def edge_weights(graph: jraph.GraphsTuple) -> jax.Array:
  """Returns the weight of each edge, float32 [E], as `adjacency_of` reads it: 1 where there is none."""
  n_edges = graph.senders.shape[0]
  found = graph.edges.get("weight") if isinstance(graph.edges, Mapping) else graph.edges
  if found is None or not hasattr(found, "shape") or found.shape not in ((n_edges,), (n_edges, 1)):
    return jnp.ones(n_edges, jnp.float32)
  return jnp.asarray(found, jnp.float32).reshape(n_edges)


def _weights(
  xp: Any, entry: Any, link: Any, senders: Any, receivers: Any, total: Callable[[Any], Any]
) -> dict[str, Any]:
  """Computes `gcn`, `gcn_no_self` and `mean` (see `Adjacency`) in numpy or JAX.

  `entry` [E'] are the entries of A + I, `link` [E'] is false on its diagonal, `total` sums over rows.
  """
  with_self, others = total(entry), total(entry * link)
  others = xp.where(others != 0, others, 1.0)  # only read where there is a neighbour
  return {
    "gcn": entry / xp.sqrt(with_self[senders] * with_self[receivers]),
    "gcn_no_self": entry * link / xp.sqrt(others[senders] * others[receivers]),
    "mean": entry * link / others[receivers],
  }


def _padded(found: Adjacency, n_nodes: int, multiple: int) -> Adjacency:
  n_edges = len(found.senders)
  all_nodes = (n_nodes // multiple + 1) * multiple  # at least one padding node
  more = -n_edges % multiple

  def pad(x, fill):
    return None if x is None else np.pad(x, (0, more), constant_values=fill)

  starts = np.full(all_nodes - n_nodes, n_edges + more, np.int32)
  return Adjacency(
    senders=pad(found.senders, n_nodes),
    receivers=pad(found.receivers, n_nodes),
    **{name: pad(getattr(found, name), 0) for name in ("gcn", "gcn_no_self", "mean", "own", "attention")},
    row_starts=np.concatenate([found.row_starts, starts]),
    reverse=np.concatenate([found.reverse, np.arange(n_edges, n_edges + more, dtype=np.int32)]),
  )


def widened(found: Adjacency, n_edges: int) -> Adjacency:
  """Appends edges of weight 0 from the last node to itself until there are `n_edges`, on the host.

  Graphs that differ by a few edges then have one shape; `found` is from `adjacency`, without padding.
  """
  starts = np.array(found.row_starts)
  more, last = n_edges - len(found.senders), len(starts) - 2
  starts[-1] += more
  weights = {name: getattr(found, name) for name in ("gcn", "gcn_no_self", "mean", "own")}
  ones = np.ones(len(found.senders), np.float32)
  weights["attention"] = ones if found.attention is None else found.attention
  every = np.arange(len(ones), len(ones) + more, dtype=np.int32)
  return Adjacency(
    senders=np.pad(found.senders, (0, more), constant_values=last),
    receivers=np.pad(found.receivers, (0, more), constant_values=last),
    **{name: np.pad(values, (0, more)) for name, values in weights.items()},
    row_starts=starts,
    reverse=np.concatenate([found.reverse, every]),
  )


def _checked(
  edges: np.ndarray, loops: np.ndarray, n_nodes: int, edge_weight: Any, loop_weight: Any
) -> tuple[np.ndarray, np.ndarray]:
  """Checks edges and self-loops, and returns their weights as float64 [E] and [S]."""
  if edges.ndim != 2 or edges.shape[1] != 2:
    raise ValueError(f"edges must have shape [E, 2], got {list(edges.shape)}")
  if loops.ndim != 1 or len(np.unique(loops)) != len(loops):
    raise ValueError("self_loops must be a list of distinct node numbers")
  for name, ids in (("edges", edges), ("self_loops", loops)):
    if ids.size and (ids.min() < 0 or ids.max() >= n_nodes):
      raise ValueError(
        f"{name} names node {ids.min() if ids.min() < 0 else ids.max()}, "
        f"but there are {n_nodes} nodes (numbered from 0)"
      )
  if (edges[:, 0] >= edges[:, 1]).any():
    raise ValueError("edges must have u < v: sort each pair, list self-loops in self_loops")
  if len(np.unique(edges, axis=0)) != len(edges):
    raise ValueError("edges must be unique: drop repeated pairs")
  return _weight("edge_weight", edge_weight, len(edges)), _weight("loop_weight", loop_weight, len(loops))


def _weight(name: str, weight: Any, n: int) -> np.ndarray:
  found = np.ones(n) if weight is None else np.asarray(weight, np.float64)
  if found.shape != (n,) or not np.isfinite(found).all() or (found <= 0).any():
    raise ValueError(f"{name} must be {n} finite numbers above 0")
  return found


def check_rows(graph: jraph.GraphsTuple | Adjacency, n_nodes: int) -> None:
  """Checks that a graph has as many nodes as features have rows, where its arrays tell.

  Raises:
    ValueError: it has another number.
  """
  if isinstance(graph, Adjacency):
    known = [] if graph.row_starts is None else [graph.row_starts.shape[0] - 1]
  else:
    known = [leaf.shape[0] for leaf in jax.tree.leaves(graph.nodes)]
  if wrong := [n for n in known if n != n_nodes]:
    raise ValueError(f"the graph has {wrong[0]} nodes and the features have {n_nodes} rows: they must agree")


def propagate(graph: Adjacency, h: jax.Array, weight: jax.Array | LowRank) -> jax.Array:
  """Sums over incoming edges: y_i = sum over e into i of weight_e * h[sender of e].

  Args:
    graph: from `adjacency` or `adjacency_of`.
    h: [N, d].
    weight: [E'], one of the matrices of `graph` or any other; may be differentiated. Or a `LowRank`.

  Returns: [N, d] in h's dtype.
  """
  if isinstance(weight, LowRank):
    scaled = weight.scale[:, None] * h
    mixed = weight.basis @ (weight.core @ (weight.basis.T @ scaled)) + weight.diagonal[:, None] * scaled
    return (weight.scale[:, None] * mixed).astype(h.dtype)
  if graph.row_starts is None or graph.reverse is None:
    # By a product with ones, for its gradient: on the CPU XLA sums rows faster in a product than in a sum.
    spread = jnp.matmul(weight[:, None], jnp.ones((1, h.shape[1]), weight.dtype), precision="highest")
    messages = spread * h[graph.senders]
    return jax.ops.segment_sum(messages, graph.receivers, h.shape[0]).astype(h.dtype)
  return _propagate(graph.senders, graph.receivers, graph.row_starts, graph.reverse, weight, h)


@jax.custom_vjp
def _propagate(senders, receivers, starts, reverse, weight, h):
  del reverse
  return sparse.csr_matmul(sparse.Csr(weight, receivers, senders, starts), h)


def _propagate_forward(*args):
  return _propagate(*args), args


def _propagate_backward(args, g):
  senders, receivers, starts, reverse, weight, h = args
  # The structure is symmetric, so the transpose has the same rows and the reversed edges' weights.
  transpose = sparse.Csr(weight[reverse], receivers, senders, starts)
  d_weight = jnp.sum(g[receivers] * h[senders], axis=-1, dtype=weight.dtype)
  return None, None, None, None, d_weight, sparse.csr_matmul(transpose, g)


_propagate.defvjp(_propagate_forward, _propagate_backward)


def edge_softmax(
  graph: Adjacency, logits: jax.Array, *, n_nodes: int, weight: jax.Array | None = None
) -> jax.Array:
  """Computes a_e = w_e exp(logit_e) / sum of the same over the edges into the same node.

  Args:
    graph: from `adjacency` or `adjacency_of`.
    logits: [E', H].
    n_nodes: N.
    weight: [E'], not negative; 0 leaves an edge out. Where none is left all coefficients are 0, never NaN.
      None: ones.

  Returns: [E', H].
  """
  ordered = graph.row_starts is not None
  keep = 1 if weight is None else weight[:, None].astype(logits.dtype)
  masked = logits if weight is None else jnp.where(keep > 0, logits, jnp.finfo(logits.dtype).min)
  # The shift changes no value, so it needs no gradient.
  top = jax.ops.segment_max(
    jax.lax.stop_gradient(masked), graph.receivers, n_nodes, indices_are_sorted=ordered
  )
  weighted = jnp.exp(masked - top[graph.receivers]) * keep
  total = jax.ops.segment_sum(weighted, graph.receivers, n_nodes, indices_are_sorted=ordered)
  return weighted / jnp.maximum(total, jnp.finfo(logits.dtype).tiny)[graph.receivers]


def propagate_host(graph: Adjacency, matrix: Any, weight: np.ndarray) -> np.ndarray:
  """Computes `propagate` on the host, from an `adjacency`: scipy or numpy [R, F] -> float32 [N, F].

  Rows missing from `matrix` (R < N: padding nodes) count as zeros.
  """
  starts = np.asarray(graph.row_starts)
  count = len(starts) - 1
  weights = scipy.sparse.csr_matrix(
    (np.asarray(weight), np.asarray(graph.senders), starts), shape=(count, count)
  )
  product = weights[:, : matrix.shape[0]] @ matrix
  dense = product.toarray() if scipy.sparse.issparse(product) else product
  return np.asarray(dense, np.float32)
