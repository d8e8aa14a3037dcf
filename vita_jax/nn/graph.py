"""Undirected graphs as `jraph.GraphsTuple`, and weighted propagation over their edges."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import jraph
import numpy as np
import scipy.sparse

from vita_jax.nn import sparse


def undirected_graph(
  edges, self_loops, nodes: Mapping[str, np.ndarray], *, pad_multiple: int = 1
) -> jraph.GraphsTuple:
  """Builds the graph of N nodes with both directions of each edge and one self edge per node.

  Args:
    edges: int [E, 2], unique undirected edges u < v.
    self_loops: int [S], nodes whose raw adjacency A has a 1 on the diagonal.
    nodes: arrays [N, ...], at least one; copied into `graph.nodes`.
    pad_multiple: 1 = no padding; otherwise nodes and edges are padded to a multiple of it, as
      `jraph.pad_with_graphs` does (a second graph; at least one padding node; padding edges join
      the first padding node to itself with weight 0; node arrays pad with 0 / False).

  Returns:
    host arrays; E' = 2E + N edges sorted by (receiver, sender); `senders`, `receivers` int32 [E'].
    `graph.nodes` gains "first_edge" int32 [N]: where each node's incoming edges start.
    `graph.edges` float32 [E'], computed in float64:
      "gcn": D^-1/2 (A + I) D^-1/2, D = row sums of A + I (raw self-loops: diagonal 2 in A + I);
      "gcn_no_self": the same of A without its diagonal and without I, rows of degree 0 are 0;
      "mean": 1 / (number of neighbours) of the receiver, 0 on self edges;
      "self": 1 on self edges, else 0;
    and "reverse" int32 [E']: the position of the edge in the other direction.

  Raises:
    ValueError: edges not [E, 2], not u < v, not unique or out of range; self_loops out of range or
      repeated; no node array, unequal leading axes, the reserved name "first_edge";
      pad_multiple < 1.
  """
  n_nodes = _n_nodes(nodes)
  edges = np.asarray(edges, np.int64)
  loops = np.asarray(self_loops, np.int64)
  _check_edges(edges, loops, n_nodes)
  if pad_multiple < 1:
    raise ValueError(f"pad_multiple={pad_multiple} must be at least 1 (1 = no padding)")

  low, high = edges.T
  every = np.arange(n_nodes)
  senders = np.concatenate([low, high, every])
  receivers = np.concatenate([high, low, every])
  order = np.lexsort((senders, receivers))
  senders, receivers = senders[order], receivers[order]
  # The k-th edge by (sender, receiver) is the reverse of the k-th by (receiver, sender).
  reverse = np.lexsort((receivers, senders))

  is_self = senders == receivers
  neighbours = np.bincount(receivers, minlength=n_nodes) - 1.0
  diagonal = 1.0 + np.isin(every, loops)
  with_self = neighbours + diagonal
  n = np.maximum(neighbours, 1.0)  # only read where there is a neighbour
  entry = np.where(is_self, diagonal[receivers], 1.0)
  weights = {
    "gcn": entry / np.sqrt(with_self[senders] * with_self[receivers]),
    "gcn_no_self": ~is_self / np.sqrt(n[senders] * n[receivers]),
    "mean": ~is_self / n[receivers],
    "self": is_self,
  }
  graph = jraph.GraphsTuple(
    nodes={**nodes, "first_edge": np.searchsorted(receivers, every).astype(np.int32)},
    edges={k: v.astype(np.float32) for k, v in weights.items()} | {"reverse": reverse.astype(np.int32)},
    senders=senders.astype(np.int32),
    receivers=receivers.astype(np.int32),
    globals=None,
    n_node=np.array([n_nodes], np.int32),
    n_edge=np.array([len(senders)], np.int32),
  )
  return graph if pad_multiple == 1 else _pad(graph, pad_multiple)


def _pad(graph, multiple):
  n_node, n_edge = int(graph.n_node[0]), int(graph.n_edge[0])
  total_node = (n_node // multiple + 1) * multiple  # at least one padding node
  total_edge = -(-n_edge // multiple) * multiple
  padded = jraph.pad_with_graphs(graph, total_node, total_edge)
  # Two index arrays of ours that zero padding would make wrong.
  padded.edges["reverse"][n_edge:] = np.arange(n_edge, total_edge)
  padded.nodes["first_edge"][n_node:] = np.where(np.arange(n_node, total_node) == n_node, n_edge, total_edge)
  return padded


def _n_nodes(nodes):
  lengths = {name: len(array) for name, array in nodes.items()}
  if len(set(lengths.values())) != 1:
    raise ValueError(f"nodes needs arrays of one common length, got {lengths}")
  if "first_edge" in nodes:
    raise ValueError('the node array name "first_edge" is reserved; rename yours')
  return next(iter(lengths.values()))


def _check_edges(edges, loops, n_nodes):
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


def n_nodes(graph: jraph.GraphsTuple) -> int:
  """The static number of nodes, padding included."""
  return jax.tree.leaves(graph.nodes)[0].shape[0]


def propagate(graph: jraph.GraphsTuple, h: jax.Array, weight: jax.Array) -> jax.Array:
  """Weighted sums over incoming edges: y_i = sum over e into i of weight_e * h[sender of e].

  Args:
    graph: from `undirected_graph`.
    h: [N, d].
    weight: [E'], one of `graph.edges` or any other; may be differentiated.

  Returns: [N, d] in h's dtype.
  """
  if "first_edge" not in graph.nodes:  # a graph made inside a trace, e.g. of an exported program
    messages = weight[:, None] * h[graph.senders]
    summed = jax.ops.segment_sum(messages, graph.receivers, h.shape[0], indices_are_sorted=True)
    return summed.astype(h.dtype)
  starts = jnp.append(graph.nodes["first_edge"], jnp.int32(graph.senders.shape[0]))
  return _propagate(graph.senders, graph.receivers, starts, graph.edges["reverse"], weight, h)


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


def edge_softmax(graph: jraph.GraphsTuple, logits: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
  """Softmax of logits [E', H] over the incoming edges of each node.

  `mask` [E'] (0/1) leaves edges out; where none is left all coefficients are 0, never NaN.
  """
  count = n_nodes(graph)
  keep = 1 if mask is None else mask[:, None].astype(logits.dtype)
  masked = logits if mask is None else jnp.where(keep > 0, logits, jnp.finfo(logits.dtype).min)
  # The shift changes no value, so it needs no gradient.
  top = jax.ops.segment_max(jax.lax.stop_gradient(masked), graph.receivers, count, indices_are_sorted=True)
  weight = jnp.exp(masked - top[graph.receivers]) * keep
  total = jax.ops.segment_sum(weight, graph.receivers, count, indices_are_sorted=True)
  return weight / jnp.maximum(total, jnp.finfo(logits.dtype).tiny)[graph.receivers]


def propagate_host(graph: jraph.GraphsTuple, matrix, name: str) -> np.ndarray:
  """`propagate` on the host: weights `graph.edges[name]`, scipy or numpy [R, F] -> float32 [N, F].

  Rows missing from `matrix` (R < N: padding nodes) count as zeros.
  """
  count = n_nodes(graph)
  starts = np.append(graph.nodes["first_edge"], len(graph.senders))
  weights = scipy.sparse.csr_matrix(
    (np.asarray(graph.edges[name]), np.asarray(graph.senders), starts), shape=(count, count)
  )
  product = weights[:, : matrix.shape[0]] @ matrix
  dense = product.toarray() if scipy.sparse.issparse(product) else product
  return np.asarray(dense, np.float32)
