"""Propagation over a graph whose edges and nodes are spread over the devices of a mesh axis.

Device k owns the k-th block of nodes and all edges into them. One propagation gathers the node features
once (N d numbers to each device), then every device sums its own edges: nothing is reduced. The gradient
has the same form, since the structure is symmetric.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import PartitionSpec as P

from vita_jax.nn import sparse
from vita_jax.nn.graph import Adjacency


class EdgeShards(NamedTuple):
  """The edges of each block of nodes, all int32 and padded to the longest block; lay out as P(axis).

  Attributes:
    senders: [shards, edges], numbers of nodes; 0 where padded.
    receivers: [shards, edges], non-decreasing, counted within the block; its length where padded.
    row_starts: [shards, nodes / shards + 1], where each node's incoming edges start.
    edge: [shards, edges], position of the edge in the graph; 0 where padded.
    reverse: [shards, edges], position of the edge in the other direction; 0 where padded.
  """

  senders: sparse.Array
  receivers: sparse.Array
  row_starts: sparse.Array
  edge: sparse.Array
  reverse: sparse.Array


def edge_shards(graph: Adjacency, n_shards: int) -> EdgeShards:
  """Cuts a graph into blocks of consecutive nodes; host arrays.

  Number the nodes so that neighbours are near (e.g. by METIS parts) and of like degree per block: the
  longest block sets the time of all.

  Args:
    graph: from `graph.adjacency`, padded so that n_shards divides its nodes (`pad_multiple`).

  Raises:
    ValueError: n_shards does not divide the nodes.
  """
  starts = np.asarray(graph.row_starts, np.int64)
  count = len(starts) - 1
  if n_shards < 1 or count % n_shards:
    raise ValueError(
      f"{count} nodes do not divide into {n_shards} shards: build the adjacency with pad_multiple={n_shards}"
    )
  rows = count // n_shards
  bounds = starts[::rows]
  longest = int(np.diff(bounds).max())

  def padded(values, fill):
    parts = [np.asarray(values[a:b]) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    return np.stack([np.pad(p, (0, longest - len(p)), constant_values=fill) for p in parts]).astype(np.int32)

  blocks = [starts[k * rows : (k + 1) * rows + 1] - bounds[k] for k in range(n_shards)]
  return EdgeShards(
    senders=padded(graph.senders, 0),
    receivers=np.where(
      _is_padding(bounds, longest), rows, padded(graph.receivers, 0) - rows * np.arange(n_shards)[:, None]
    ).astype(np.int32),
    row_starts=np.stack(blocks).astype(np.int32),
    edge=padded(np.arange(len(graph.senders)), 0),
    reverse=padded(graph.reverse, 0),
  )


def _is_padding(bounds: np.ndarray, longest: int) -> np.ndarray:
  return np.arange(longest) >= np.diff(bounds)[:, None]


class ShardedWeights(NamedTuple):
  """float [shards, edges]: the weights of the edges, and those of the edges in the other direction."""

  weight: sparse.Array
  transposed: sparse.Array


def sharded_weights(shards: EdgeShards, weight: jax.Array) -> ShardedWeights:
  """Puts one of the matrices of the graph [E'] (or any other) in the order of the shards; padding gets 0."""
  rows = shards.row_starts.shape[1] - 1
  real = shards.receivers < rows
  return ShardedWeights(weight[shards.edge] * real, weight[shards.reverse] * real)


def propagate(
  shards: EdgeShards, weights: ShardedWeights, h: jax.Array, *, mesh: jax.sharding.Mesh, axis: str = "data"
) -> jax.Array:
  """Computes `graph.propagate` over the devices of a mesh axis: h [N, d] laid out as P(axis) -> the same.

  Differentiable in h; `weights` are constants (their gradient is zero).
  """
  return _propagate(mesh, axis, shards, weights, h)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _propagate(mesh, axis, shards, weights, h):
  return _product(mesh, axis, shards, weights.weight, h)


def _forward(mesh, axis, shards, weights, h):
  return _propagate(mesh, axis, shards, weights, h), (shards, weights)


def _backward(mesh, axis, kept, g):
  shards, weights = kept
  return None, None, _product(mesh, axis, shards, weights.transposed, g)


_propagate.defvjp(_forward, _backward)


def _product(mesh, axis, shards, weight, h):
  # check_vma=False: the compressed-sparse-row kernel does not say over which axes its result varies.
  @functools.partial(
    jax.shard_map, mesh=mesh, in_specs=(P(axis), P(axis), P(axis)), out_specs=P(axis), check_vma=False
  )
  def block(shards, weight, h):
    everyone = jax.lax.all_gather(h, axis, tiled=True)
    own = jax.tree.map(lambda x: x[0], shards)
    return sparse.csr_matmul(sparse.Csr(weight[0], own.receivers, own.senders, own.row_starts), everyone)

  return block(shards, weight, h)
