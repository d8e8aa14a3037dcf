"""The self-supervised labels of a graph: made once, before training, and kept on disk."""

import importlib.metadata
import os
from typing import NamedTuple

import numpy as np

from vita_jax.base.choose import choose
from vita_jax.data.graphs import Graph, row_normalize
from vita_jax.papers.ss_gcn.cache import arrays_sha256, cached
from vita_jax.papers.ss_gcn.cluster import Clusters, kmeans_clusters, target_from_clusters
from vita_jax.papers.ss_gcn.completion import completion_targets
from vita_jax.papers.ss_gcn.config import TASKS
from vita_jax.papers.ss_gcn.partition import partition_labels

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
  meta: dict
  clusters: Clusters | None = None


def self_supervision(
  graph: Graph,
  task: str,
  *,
  n_clusters: int,
  align: str,
  n_parts: int,
  rank: int,
  seed: int = 0,
  cache_dir: str | os.PathLike | None = None,
) -> SelfSupervision | None:
  """The target of one self-supervised task, from the cache when it was made before.

  "cluster": k-means on row-normalised features, named by class (`cluster.cluster_labels`).
  "partition": METIS parts (`partition.partition_labels`).
  "completion": left singular vectors (`completion.completion_targets`).
  "random_labels": the control; labels drawn uniformly from [0, n_parts), same mask as "partition".
  "none": returns None.

  Cached is what is dear: clusters, parts, singular vectors. The classes of clusters depend on the
  training labels and are given anew in every call. The key covers the graph file's sha256, the
  arrays the task reads, its parameters and seed, the normalisation, and the library's version.

  Args:
    graph: labels outside `train_mask` are never read.
    task: one of TASKS.
    n_clusters: k of k-means, for "cluster".
    align: "classes" or "none", for "cluster".
    n_parts: for "partition" and "random_labels".
    rank: number of singular vectors, for "completion".
    seed: of k-means, METIS and the random labels; completion has none.
    cache_dir: default $VITA_CACHE_DIR, else ~/.cache/vita_jax.

  Raises:
    ValueError: unknown task (the nearest valid one is named), or a parameter out of range.
    ImportError: the task's library is not installed.
  """
  n_nodes = len(graph.labels)
  everywhere = np.ones(n_nodes, np.float32)
  features = row_normalize(graph.features)
  if choose("self-supervised task", task, TASKS) == "none":
    return None
  if task == "random_labels":
    if n_parts < 2:
      raise ValueError(f"n_parts={n_parts} must be at least 2")
    target = np.random.default_rng(seed).integers(n_parts, size=n_nodes, dtype=np.int32)
    return SelfSupervision(task, target, everywhere, n_parts, {"n_parts": n_parts, "seed": seed})
  if task == "cluster":
    if align not in ("classes", "none"):  # before minutes of k-means
      raise ValueError(f"align={align!r} must be 'classes' or 'none'")
    inputs = _inputs(graph, task, {"n_clusters": n_clusters, "seed": seed})

    def compute():
      return kmeans_clusters(features, n_clusters=n_clusters, seed=seed)._asdict()

    clusters = Clusters(**cached(task, inputs, compute, cache_dir=cache_dir))
    target = target_from_clusters(
      clusters,
      features,
      graph.labels,
      graph.train_mask,
      n_classes=graph.n_classes,
      align=align,
    )
    n_outputs = graph.n_classes if align == "classes" else n_clusters
    mask = everywhere * ~graph.train_mask
    return SelfSupervision(task, target, mask, n_outputs, inputs | {"align": align}, clusters)
  if task == "partition":
    inputs = _inputs(graph, task, {"n_parts": n_parts, "seed": seed})

    def compute():
      parts, edge_cut = partition_labels(graph.edges, n_nodes, n_parts=n_parts, seed=seed)
      return {"parts": parts, "edge_cut": np.int64(edge_cut)}

    found = cached(task, inputs, compute, cache_dir=cache_dir)
    meta = inputs | {"edge_cut": int(found["edge_cut"])}
    return SelfSupervision(task, found["parts"], everywhere, n_parts, meta)
  inputs = _inputs(graph, task, {"rank": rank})

  def compute():
    return {"vectors": completion_targets(features, rank=rank)}

  found = cached(task, inputs, compute, cache_dir=cache_dir)
  return SelfSupervision(task, found["vectors"], everywhere, rank, inputs)


def _inputs(graph, task, parameters):
  """Everything the cached arrays of a task depend on, as JSON values."""
  library = LIBRARY[task]
  try:
    version = importlib.metadata.version(library)
  except importlib.metadata.PackageNotFoundError as error:
    raise ImportError(
      f'task {task!r} needs {library}, which is missing: pip install "vita_jax[graph]"'
    ) from error
  x = graph.features
  # A graph changed in memory (graph._replace) keeps its file's sha256: hash the arrays as well.
  read = (graph.edges,) if task == "partition" else (x.indptr, x.indices, x.data)
  return {
    "task": task,
    "graph_sha256": graph.sha256,
    "inputs_sha256": arrays_sha256(read),
    "shape": list(x.shape),
    "row_normalized": task != "partition",
    "library": f"{library} {version}",
    **parameters,
  }
