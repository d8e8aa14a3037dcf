"""From a `Graph` on the host to the one full batch that every step of SS-GCN sees."""

from __future__ import annotations

from typing import Any

import numpy as np

from vita_jax.attacks.defences import low_rank_of, without_unlike_links
from vita_jax.data.graph_supervision import SelfSupervision, self_supervision
from vita_jax.data.graphs import Graph, check_normalizable, load_graph, load_graph_npz, normalize_rows
from vita_jax.nn import sparse
from vita_jax.nn.graph import adjacency, undirected_graph
from vita_jax.papers.ss_gcn.model import propagated
from vita_jax.papers.ss_gcn.recipe import OWN, Recipe

DENSE_FROM = 0.05  # share of non-zeros above which a dense first layer is faster (papers/ss_gcn/README.md)


def read_graph(recipe: Recipe) -> Graph:
  """Reads the graph that a recipe names: a user's npz, or a known one by its name.

  Raises:
    ValueError, FileNotFoundError: see `load_graph_npz` and `load_graph`; no validation nodes; or features
      that cannot be normalised as the recipe says.
  """
  graph = load_graph_npz(recipe.graph_path) if recipe.graph_path else load_graph(recipe.graph_name)
  if not graph.val_mask.any():
    raise ValueError(f"graph '{graph.name}' has an empty val_mask: the protocol needs validation nodes")
  check_normalizable(graph.features, recipe.normalization)
  return graph


def supervision_of(recipe: Recipe, graph: Graph) -> SelfSupervision | None:
  """Returns `self_supervision` as a recipe asks for it.

  Raises:
    ValueError, ImportError: as there; a number that does not fit the graph is named by its config key.
  """
  try:
    return self_supervision(
      graph,
      recipe.task,
      n_clusters=recipe.n_clusters,
      align=recipe.align,
      n_parts=recipe.n_outputs,
      rank=recipe.n_outputs,
      seed=recipe.labels_seed,
      normalization=recipe.normalization,
      cache_dir=recipe.cache_dir,
    )
  except ValueError as error:
    key = "clustering.n_clusters" if recipe.task == "cluster" else f"ss.{recipe.host}.n_outputs"
    raise ValueError(f"config.{key} does not fit: {error} (0 goes by the graph's size)") from error


def features_form(recipe: Recipe, graph: Graph) -> str:
  """Returns "sparse" or "dense": as `recipe.features` says, or by the density of the feature matrix."""
  if recipe.features != "auto":
    return recipe.features
  if recipe.host in OWN:  # dropout of entries that are not 0 costs less
    return "sparse"
  n_nodes, n_features = graph.features.shape
  return "dense" if graph.features.nnz > DENSE_FROM * n_nodes * n_features else "sparse"


def full_batch(recipe: Recipe, graph: Graph, supervision: SelfSupervision | None) -> dict[str, Any]:
  """Makes the batch: host arrays, placed on the devices once.

  Returns:
    `graph`: jraph.GraphsTuple whose `nodes` are `labels` int32 [N] and the masks `train`,
    `validation`, `test`, `pool` (neither train nor validation) bool [N]; `adjacency`: its matrices, which
    the hosts read; `features`: normalised X as `Sparse` or float32 [N, F], or `Propagated` for a GCN with
    dense features; with supervision `ss_target` and `ss_mask` [N], where GMNN and GraphMix have singular
    vectors times sqrt(N), of order 1; for GraphMix `nodes`, int32: training nodes, and all others.
  """
  nodes = {
    "labels": graph.labels.astype(np.int32),
    "train": graph.train_mask,
    "validation": graph.val_mask,
    "test": graph.test_mask,
    "pool": ~(graph.train_mask | graph.val_mask),
  }
  if recipe.defence.name == "jaccard":
    graph = without_unlike_links(graph, threshold=recipe.defence.threshold)
  weights: dict[str, Any] = {"edge_weight": graph.edge_weight, "loop_weight": graph.loop_weight}
  matrices = adjacency(graph.edges, graph.self_loops, len(graph.labels), **weights)
  if recipe.defence.name == "low_rank":
    matrices = low_rank_of(graph, rank=recipe.defence.rank)
  normalized = normalize_rows(graph.features, recipe.normalization)
  features: Any
  if features_form(recipe, graph) == "sparse":
    features = sparse.from_scipy(normalized, ordered=recipe.host in OWN)
  elif recipe.host == "gcn" and recipe.defence.name != "low_rank":
    views = ("full", "no_self") if recipe.task == "completion" else ("full",)
    features = propagated(matrices, normalized, views=views)
  else:
    features = np.asarray(normalized.todense(), np.float32)
  batch = {
    "graph": undirected_graph(graph.edges, graph.self_loops, nodes, **weights),
    "adjacency": matrices,
    "features": features,
  }
  if recipe.host == "graphmix":
    train = np.flatnonzero(graph.train_mask).astype(np.int32)
    others = np.flatnonzero(~graph.train_mask).astype(np.int32)
    batch["nodes"] = {"train": train, "others": others}
  if supervision is not None:
    batch["ss_target"], batch["ss_mask"] = supervision.target, supervision.mask
    if recipe.task == "completion" and recipe.host in OWN:
      batch["ss_target"] = supervision.target * np.float32(len(graph.labels) ** 0.5)
  return batch
