"""From a `Graph` on the host to the one full batch that every step of SS-GCN sees."""

from __future__ import annotations

from typing import Any

import numpy as np

from vita_jax.base.choose import choose
from vita_jax.data.graphs import Graph, load_graph, load_graph_npz, row_normalize
from vita_jax.nn import sparse
from vita_jax.nn.graph import undirected_graph
from vita_jax.papers.ss_gcn.labels import SelfSupervision
from vita_jax.papers.ss_gcn.model import propagated

DENSE_FROM = 0.05  # share of non-zeros above which a dense first layer is faster (papers/ss_gcn/README.md)


def read_graph(config: Any) -> Graph:
  """The graph that a config names: a user's npz under `data.path`, or a known one by `data.name`.

  Raises:
    ValueError: none is named, or see `load_graph_npz`. FileNotFoundError: it is not there.
  """
  if not (config.data.path or config.data.name):
    raise ValueError("no graph is named: give yours as --config.data.path=my.npz")
  return load_graph_npz(config.data.path) if config.data.path else load_graph(config.data.name)


def features_form(config: Any, graph: Graph) -> str:
  """ "sparse" or "dense": as `config.features` says, or by the density of the feature matrix."""
  choose("config.features", config.features, ("auto", "sparse", "dense"))
  if config.features != "auto":
    return config.features
  n_nodes, n_features = graph.features.shape
  return "dense" if graph.features.nnz > DENSE_FROM * n_nodes * n_features else "sparse"


def full_batch(config: Any, graph: Graph, supervision: SelfSupervision | None) -> dict[str, Any]:
  """The batch: host arrays, placed on the devices once.

  Returns:
    `graph`: jraph.GraphsTuple whose `nodes` are `labels` int32 [N] and the masks `train`,
    `validation`, `test`, `pool` (neither train nor validation) bool [N]; `features`: row-normalised X as
    `Sparse` or float32 [N, F], or `Propagated` for a GCN with dense features; with supervision
    `ss_target` and `ss_mask` [N].
  """
  nodes = {
    "labels": graph.labels.astype(np.int32),
    "train": graph.train_mask,
    "validation": graph.val_mask,
    "test": graph.test_mask,
    "pool": ~(graph.train_mask | graph.val_mask),
  }
  graphs_tuple = undirected_graph(graph.edges, graph.self_loops, nodes)
  by_row = choose("config.normalization", config.normalization, ("row", "none")) == "row"
  normalized = row_normalize(graph.features) if by_row else graph.features
  if features_form(config, graph) == "sparse":
    features = sparse.from_scipy(normalized)
  elif config.host == "gcn":
    views = ("full", "no_self") if config.task == "completion" else ("full",)
    features = propagated(graphs_tuple, normalized, views=views)
  else:
    features = np.asarray(normalized.todense(), np.float32)
  batch = {"graph": graphs_tuple, "features": features}
  if supervision is not None:
    batch["ss_target"], batch["ss_mask"] = supervision.target, supervision.mask
  return batch
