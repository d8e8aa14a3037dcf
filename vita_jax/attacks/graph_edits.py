"""What attackers change: flips of links and of binary features of a `data.Graph`, and their files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from vita_jax.base.files import write_npz
from vita_jax.base.hashing import arrays_sha256
from vita_jax.data.files import read_npz
from vita_jax.data.graphs import Graph


class Flips(NamedTuple):
  """What an attack on one node changes, in the order in which it was chosen.

  Attributes:
    target: the node.
    links: int32 [k], the other ends of the links that are added where absent and removed where present.
    words: int32 [m], the features of the target that are set where 0 and cleared where 1.
  """

  target: int
  links: np.ndarray
  words: np.ndarray


def check_attackable(graph: Graph, *, features: bool = False) -> None:
  """Checks that a graph is of the kind that flips are defined on.

  Args:
    graph: undirected, as every `Graph` is: a directed one is refused when it is loaded.
    features: whether features are to be flipped, too.

  Raises:
    ValueError: it has edge weights, which a flip cannot honour; or features other than 0 and 1.
  """
  for name in ("edge_weight", "loop_weight"):
    weight = getattr(graph, name)
    if weight is not None and not (weight == 1).all():
      raise ValueError(
        f"graph '{graph.name}' has {name}: links are flipped between 0 and 1, so that weights would be lost;"
        " attack the graph without them"
      )
  if features and not (graph.features.data == 1).all():
    wrong = graph.features.data[graph.features.data != 1][0]
    raise ValueError(
      f"graph '{graph.name}' has features that are not 0 or 1 (e.g. {wrong:.4g}): feature flips need binary"
      " features; attack links only (in training: config.attack.words=0), or binarise them"
    )


def check_targets(graph: Graph, targets: npt.ArrayLike) -> np.ndarray:
  """Returns target nodes as int64 [T].

  Raises:
    ValueError: none, a node twice, or a number that is no node.
  """
  found = np.asarray(targets)
  n_nodes = len(graph.labels)
  if found.ndim != 1 or not found.size or found.dtype.kind not in "iu":
    raise ValueError("targets must be a list of node numbers, at least one")
  if wrong := found[(found < 0) | (found >= n_nodes)].tolist():
    raise ValueError(f"target {wrong[0]} is no node: the graph has {n_nodes}, numbered from 0")
  if len(np.unique(found)) != len(found):
    raise ValueError("a target is named twice")
  return found.astype(np.int64)


def links_matrix(graph: Graph) -> sp.csr_matrix:
  """Returns the links as a symmetric float64 0/1 matrix [N, N] with a zero diagonal."""
  n_nodes = len(graph.labels)
  u, v = graph.edges.T
  entries = np.ones(2 * len(u))
  return sp.csr_matrix((entries, (np.r_[u, v], np.r_[v, u])), shape=(n_nodes, n_nodes))


def flip_links(graph: Graph, pairs: npt.ArrayLike) -> Graph:
  """Returns the graph with each pair of nodes linked where it was not, and the other way round.

  Args:
    graph: it is not changed.
    pairs: int [k, 2], in any order and direction.

  Raises:
    ValueError: a node with itself, a number that is no node, a pair twice, or a weighted graph.
  """
  check_attackable(graph)
  flips = np.sort(np.asarray(pairs, np.int64).reshape(-1, 2), axis=1)
  n_nodes = len(graph.labels)
  if flips.size and (flips.min() < 0 or flips.max() >= n_nodes or (flips[:, 0] == flips[:, 1]).any()):
    raise ValueError(f"pairs must be two different nodes of 0 .. {n_nodes - 1}")
  codes = flips[:, 0] * n_nodes + flips[:, 1]
  if len(np.unique(codes)) != len(codes):
    raise ValueError("a pair is flipped twice")
  edges = graph.edges.astype(np.int64)
  kept = np.setxor1d(edges[:, 0] * n_nodes + edges[:, 1], codes, assume_unique=True)
  found = np.stack([kept // n_nodes, kept % n_nodes], axis=1).astype(np.int32)
  return graph._replace(edges=found, edge_weight=None, loop_weight=None)


def flip_words(graph: Graph, nodes: npt.ArrayLike, words: npt.ArrayLike) -> Graph:
  """Returns the graph with feature `words[i]` of node `nodes[i]` flipped between 0 and 1, for every i.

  Raises:
    ValueError: features that are not binary, or an entry twice.
  """
  check_attackable(graph, features=True)
  places = np.asarray(nodes, np.int64), np.asarray(words, np.int64)
  change = sp.csr_matrix((np.ones(len(places[0])), places), shape=graph.features.shape)
  if change.nnz and change.max() > 1:
    raise ValueError("a feature is flipped twice")
  found = graph.features + change - 2 * graph.features.multiply(change)
  found = sp.csr_matrix(found, dtype=np.float32)
  found.eliminate_zeros()
  found.sort_indices()
  return graph._replace(features=found)


def apply_flips(graph: Graph, flips: Flips) -> Graph:
  """Returns the graph that an attack on one node leaves; the graph given is not changed."""
  pairs = [(flips.target, other) for other in flips.links.tolist()]
  found = flip_links(graph, pairs) if pairs else graph
  n_words = len(flips.words)
  return flip_words(found, np.full(n_words, flips.target), flips.words) if n_words else found


def disconnected(before: Graph, after: Graph) -> np.ndarray:
  """Returns the nodes, int64, that had a link before and have none after."""
  n_nodes = len(before.labels)
  degree = [np.bincount(graph.edges.ravel(), minlength=n_nodes) for graph in (before, after)]
  return np.flatnonzero((degree[0] > 0) & (degree[1] == 0))


def graph_digest(graph: Graph) -> str:
  """Returns the sha256 of what an attack reads: links, self-loops and features."""
  x = graph.features
  arrays = {"edges": graph.edges, "self_loops": graph.self_loops, "indptr": x.indptr}
  return arrays_sha256({**arrays, "indices": x.indices, "data": x.data})


def pack_flips(flips: Sequence[Flips]) -> dict[str, np.ndarray]:
  """Returns flips of many targets as arrays: `targets` [T], `links` [T, k], `words` [T, m], -1 for none."""

  def padded(rows: list[np.ndarray]) -> np.ndarray:
    found = np.full((len(rows), max(map(len, rows), default=0)), -1, np.int32)
    for place, row in zip(found, rows, strict=True):
      place[: len(row)] = row
    return found

  return {
    "targets": np.array([flip.target for flip in flips], np.int32),
    "links": padded([flip.links for flip in flips]),
    "words": padded([flip.words for flip in flips]),
  }


def unpack_flips(arrays: dict[str, np.ndarray]) -> list[Flips]:
  """Returns the flips that `pack_flips` made arrays of."""
  rows = zip(arrays["targets"].tolist(), arrays["links"], arrays["words"], strict=True)
  return [Flips(target, links[links >= 0], words[words >= 0]) for target, links, words in rows]


def write_flips(path: str | os.PathLike, graph: Graph, flips: Sequence[Flips]) -> None:
  """Writes the perturbed graphs of many targets as one npz: the flips, and the digest of their graph.

  `apply_flips(graph, read_flips(path, graph)[i])` is the i-th perturbed graph.
  """
  digest = np.frombuffer(graph_digest(graph).encode(), np.uint8)
  write_npz(path, {**pack_flips(flips), "graph_sha256": digest})


def read_flips(path: str | os.PathLike, graph: Graph) -> list[Flips]:
  """Reads what `write_flips` wrote.

  Raises:
    FileNotFoundError, ValueError: see `read_npz`; no such arrays; or the flips are of another graph.
  """
  arrays = read_npz(path)
  if missing := sorted({"targets", "links", "words", "graph_sha256"} - set(arrays)):
    raise ValueError(f"{os.fspath(path)} holds no flips (no {missing[0]}): see `write_flips`")
  if arrays["graph_sha256"].tobytes().decode() != graph_digest(graph):
    raise ValueError(f"{os.fspath(path)} holds flips of another graph than '{graph.name}'")
  return unpack_flips(arrays)


def write_graph(path: str | os.PathLike, graph: Graph) -> None:
  """Writes a graph, e.g. one that was attacked as a whole, under the keys of `data.load_graph_npz`."""
  x = graph.features
  arrays = {
    "edges": graph.edges,
    "self_loop_nodes": graph.self_loops,
    "feat_indptr": x.indptr,
    "feat_indices": x.indices,
    "feat_data": x.data,
    "num_features": np.int64(x.shape[1]),
    "num_classes": np.int64(graph.n_classes),
    "labels": graph.labels,
    "directed": np.bool_(False),
  }
  masks = {name: getattr(graph, name) for name in ("train_mask", "val_mask", "test_mask")}
  write_npz(path, {**arrays, **masks})
