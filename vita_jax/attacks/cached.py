"""Transfer attacks, made once: they depend on graph, surrogate and budget, not on who is attacked."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from vita_jax.attacks.graph_edits import Flips, graph_digest, pack_flips, unpack_flips
from vita_jax.attacks.nettack import accumulate, nettack, prepare
from vita_jax.base.hashing import arrays_sha256
from vita_jax.data.cache import cache_folder, cached_arrays
from vita_jax.data.graphs import Graph, graph_from_arrays

_VERSION = 1  # of the algorithm: raise it when flips change


def nettack_flips(
  graph: Graph,
  weight: np.ndarray,
  targets: np.ndarray,
  labels: np.ndarray,
  *,
  n_links: int,
  n_words: int,
  cache_dir: str | os.PathLike | None = None,
) -> list[Flips]:
  """Returns `nettack` of each target on the clean graph, from the cache when it was made before.

  Args:
    graph: see `nettack.prepare`.
    weight: likewise.
    targets: int [T].
    labels: int [T], their classes.
    n_links: links that may be flipped, for each target.
    n_words: features, likewise.
    cache_dir: default $VITA_CACHE_DIR, else ~/.cache/vita_jax.
  """

  def make():
    surrogate = prepare(graph, weight, features=n_words > 0)
    pairs = zip(targets.tolist(), labels.tolist(), strict=True)
    return pack_flips([nettack(surrogate, *pair, n_links=n_links, n_words=n_words) for pair in pairs])

  key = _key("nettack", graph, weight, targets, labels, n_links, n_words)
  return unpack_flips(cached_arrays(cache_folder("attacks", cache_dir), key, make, prefix="nettack-"))


def accumulated(
  graph: Graph,
  weight: np.ndarray,
  targets: np.ndarray,
  labels: np.ndarray,
  *,
  n_links: int,
  n_words: int,
  cache_dir: str | os.PathLike | None = None,
) -> Graph:
  """Returns `nettack.accumulate`, the graph after attacks on all targets in turn; arguments as above."""

  def make():
    found = accumulate(graph, weight, targets, labels, n_links=n_links, n_words=n_words)
    x = found.features
    csr = {"feat_indptr": x.indptr, "feat_indices": x.indices, "feat_data": x.data}
    return {"edges": found.edges, **csr}

  key = _key("accumulate", graph, weight, targets, labels, n_links, n_words)
  arrays = cached_arrays(cache_folder("attacks", cache_dir), key, make, prefix="accumulate-")
  whole: dict[str, Any] = {
    **arrays,
    "num_features": np.int64(graph.features.shape[1]),
    "num_classes": np.int64(graph.n_classes),
    "self_loop_nodes": graph.self_loops.astype(np.int64),
    "directed": np.bool_(False),
    "labels": graph.labels,
    "train_mask": graph.train_mask,
    "val_mask": graph.val_mask,
    "test_mask": graph.test_mask,
  }
  return graph_from_arrays(whole, name=graph.name, sha256=graph.sha256)


def _key(
  kind: str,
  graph: Graph,
  weight: np.ndarray,
  targets: np.ndarray,
  labels: np.ndarray,
  n_links: int,
  n_words: int,
) -> str:
  inputs = {"weight": np.asarray(weight), "targets": np.asarray(targets), "labels": np.asarray(labels)}
  parts = {"kind": kind, "version": _VERSION, "graph": graph_digest(graph), "inputs": arrays_sha256(inputs)}
  return json.dumps({**parts, "n_links": n_links, "n_words": n_words}, sort_keys=True)
