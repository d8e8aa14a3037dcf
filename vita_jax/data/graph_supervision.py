"""Self-supervised labels of any graph: made once, before training, and kept on disk.

Source: You et al., ICML 2020 (arXiv 2006.09136), section 3.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from vita_jax.base.choose import choose
from vita_jax.base.hashing import arrays_sha256
from vita_jax.data.cache import cache_folder, cached_arrays
from vita_jax.data.graph_clusters import Clusters, kmeans_clusters, target_from_clusters
from vita_jax.data.graph_parts import partition_labels
from vita_jax.data.graph_vectors import completion_targets
from vita_jax.data.graphs import Graph, normalize_rows

TASKS = ("none", "cluster", "partition", "completion", "random_labels")
ALIGN = ("classes", "none")
LIBRARY = {"cluster": "scikit-learn", "partition": "pymetis", "completion": "scipy"}


class SelfSupervision(NamedTuple):
  """A self-supervised task on a graph of N nodes.

  Attributes:
    task: one of TASKS.
    target: int32 [N] classes, or float32 [N, r] values (completion).
    mask: float32 [N], 1 on the nodes that the self-supervised loss averages over: the non-training
      nodes for clustering, all nodes for the others.
    n_outputs: width of the self-supervised head.
    meta: what the target was made with; JSON values only.
    clusters: the k-means result behind the clustering task, else None.
  """

  task: str
  target: np.ndarray
  mask: np.ndarray
  n_outputs: int
  meta: dict[str, Any]
  clusters: Clusters | None = None


def self_supervision(
  graph: Graph,
  task: str,
  *,
  n_clusters: int = 0,
  align: str = "classes",
  n_parts: int = 0,
  rank: int = 0,
  seed: int = 0,
  normalization: str = "row",
  cache_dir: str | os.PathLike | None = None,
) -> SelfSupervision | None:
  """Returns the target of one self-supervised task, from the cache when it was made before.

  "cluster": k-means on normalised features, named by class (`data.graph_clusters.target_from_clusters`).
  "partition": METIS parts (`data.graph_parts.partition_labels`).
  "completion": left singular vectors (`data.graph_vectors.completion_targets`).
  "random_labels": the control; labels drawn uniformly from [0, n_parts), same mask as "partition".
  "none": returns None.

  Cached is what takes long: clusters, parts, singular vectors. The classes of clusters depend on the
  training labels and are given anew in every call. The key covers the graph file's sha256, the
  arrays the task reads, its parameters and seed, the normalisation, and the library's version.

  Args:
    graph: labels outside `train_mask` are never read.
    task: one of TASKS.
    n_clusters: k of k-means, for "cluster".
    align: "classes" or "none", for "cluster".
    n_parts: for "partition" and "random_labels".
    rank: number of singular vectors, for "completion"; 0: 24, or as many as the features have.
    seed: of k-means, METIS and the random labels; completion has none.
    normalization: of the features that clusters and singular vectors are made of (`data.normalize_rows`).
    cache_dir: default $VITA_CACHE_DIR, else ~/.cache/vita_jax.

  Raises:
    ValueError: unknown task (the nearest valid one is named), or a parameter out of range.
    ImportError: the task's library is not installed.
  """
  choose("self-supervised task", task, TASKS)
  if task == "none":
    return None
  if task == "random_labels":
    return _random_labels(graph, n_parts, seed)
  if task == "cluster":
    return _cluster(graph, n_clusters, align, seed, normalization, cache_dir)
  if task == "partition":
    return _partition(graph, n_parts, seed, cache_dir)
  return _completion(graph, rank, normalization, cache_dir)


def _random_labels(graph: Graph, n_parts: int, seed: int) -> SelfSupervision:
  if n_parts < 2:
    raise ValueError(f"n_parts={n_parts} must be at least 2")
  n_nodes = len(graph.labels)
  target = np.random.default_rng(seed).integers(n_parts, size=n_nodes, dtype=np.int32)
  meta = {"n_parts": n_parts, "seed": seed}
  return SelfSupervision("random_labels", target, _everywhere(graph), n_parts, meta)


def _cluster(
  graph: Graph, n_clusters: int, align: str, seed: int, normalization: str, cache_dir: Any
) -> SelfSupervision:
  if align not in ALIGN:  # before minutes of k-means
    raise ValueError(f"align={align!r} must be 'classes' or 'none'")
  features = normalize_rows(graph.features, normalization)
  inputs = _inputs(graph, "cluster", {"n_clusters": n_clusters, "seed": seed, "normalization": normalization})

  def make():
    return kmeans_clusters(features, n_clusters=n_clusters, seed=seed)._asdict()

  clusters = Clusters(**_cached(inputs, make, cache_dir))
  target = target_from_clusters(
    clusters, features, graph.labels, graph.train_mask, n_classes=graph.n_classes, align=align
  )
  n_outputs = graph.n_classes if align == "classes" else n_clusters
  mask = _everywhere(graph) * ~graph.train_mask
  return SelfSupervision("cluster", target, mask, n_outputs, inputs | {"align": align}, clusters)


def _partition(graph: Graph, n_parts: int, seed: int, cache_dir: Any) -> SelfSupervision:
  inputs = _inputs(graph, "partition", {"n_parts": n_parts, "seed": seed})

  def make():
    parts, edge_cut = partition_labels(graph.edges, len(graph.labels), n_parts=n_parts, seed=seed)
    return {"parts": parts, "edge_cut": np.int64(edge_cut)}

  found = _cached(inputs, make, cache_dir)
  meta = inputs | {"edge_cut": int(found["edge_cut"])}
  return SelfSupervision("partition", found["parts"], _everywhere(graph), n_parts, meta)


def _completion(graph: Graph, rank: int, normalization: str, cache_dir: Any) -> SelfSupervision:
  inputs = _inputs(graph, "completion", {"rank": rank, "normalization": normalization})

  def make():
    return {"vectors": completion_targets(normalize_rows(graph.features, normalization), rank=rank)}

  found = _cached(inputs, make, cache_dir)
  vectors = found["vectors"]
  return SelfSupervision("completion", vectors, _everywhere(graph), vectors.shape[1], inputs)


def _everywhere(graph: Graph) -> np.ndarray:
  return np.ones(len(graph.labels), np.float32)


def _cached(
  inputs: dict[str, Any], make: Callable[[], Mapping[str, np.ndarray]], cache_dir: Any
) -> dict[str, np.ndarray]:
  folder, key = cache_folder("ss_gcn", cache_dir), json.dumps(inputs, sort_keys=True)
  setting = "config.cache_dir" if cache_dir else "VITA_CACHE_DIR"
  return cached_arrays(folder, key, make, prefix=f"{inputs['task']}-", setting=setting)


def _inputs(graph: Graph, task: str, parameters: dict[str, Any]) -> dict[str, Any]:
  """Returns everything the cached arrays of a task depend on, as JSON values."""
  library = LIBRARY[task]
  try:
    version = importlib.metadata.version(library)
  except importlib.metadata.PackageNotFoundError as error:
    raise ImportError(
      f'task {task!r} needs {library}, which is missing: pip install "vita_jax[graph]"'
    ) from error
  x = graph.features
  # A graph changed in memory (graph._replace) keeps its file's sha256: hash the arrays as well.
  values = {"indptr": x.indptr, "indices": x.indices, "data": x.data}
  return {
    "task": task,
    "graph_sha256": graph.sha256,
    "inputs_sha256": arrays_sha256({"edges": graph.edges} if task == "partition" else values),
    "shape": list(x.shape),
    "library": f"{library} {version}",
    **parameters,
  }
