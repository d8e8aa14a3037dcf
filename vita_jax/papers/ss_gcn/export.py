"""What a user takes away: the weights, and a program from a graph as plain arrays to class probabilities."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import jraph
import numpy as np

from vita_jax.data.graphs import Graph, load_unlabelled_npz
from vita_jax.train.experiment import Exported


def exported(model: Any, params: Any, graph: Graph, *, normalization: str) -> Exported:
  """Returns the exported form of a trained network.

  Args:
    model, params: the host and its weights.
    graph: what it was trained on.
    normalization: of the features, as in training.
  """
  n_features = graph.features.shape[1]
  rows = "rows are normalised inside" if normalization == "row" else "taken as they are"
  return Exported(
    params=params,
    program=functools.partial(_program, model, normalization),
    inputs={
      "features": (f"nodes, {n_features}", "float32"),
      "edges": ("edges, 2", "int32"),
      "self_loops": ("nodes", "float32"),
    },
    read=functools.partial(_read, n_features),
    card={
      "inputs": {
        "features": f"raw node features; {rows}",
        "edges": "undirected edges u < v, each once, without self-loops",
        "self_loops": "1 where the raw adjacency has a self-loop, else 0",
      },
      "outputs": {"labels": "int32 [nodes]", "probabilities": f"float32 [nodes, {graph.n_classes}]"},
      "trained on": {
        "graph": graph.name,
        "sha256": graph.sha256,
        "labelled nodes": int(graph.train_mask.sum()),
      },
    },
  )


def _program(
  model: Any, normalization: str, params: Any, *, features: jax.Array, edges: jax.Array, self_loops: jax.Array
) -> dict[str, jax.Array]:
  if normalization == "row":
    total = features.sum(-1, keepdims=True)
    features = jnp.where(total == 0, 0.0, features / jnp.where(total == 0, 1.0, total))
  outputs = model.apply({"params": params}, features, traced_graph(edges, self_loops), "full", None)
  probabilities = jax.nn.softmax(outputs["target"], axis=-1)
  return {"labels": jnp.argmax(probabilities, axis=-1).astype(jnp.int32), "probabilities": probabilities}


def _read(n_features: int, path: str) -> dict[str, np.ndarray]:
  data = load_unlabelled_npz(path, n_features=n_features)
  loops = np.zeros(data.features.shape[0], np.float32)
  loops[data.self_loops] = 1.0
  features = np.asarray(data.features.todense(), np.float32)
  return {"features": features, "edges": data.edges.astype(np.int32), "self_loops": loops}


def traced_graph(edges: jax.Array, self_loops: jax.Array) -> jraph.GraphsTuple:
  """Builds `nn.graph.undirected_graph` as a traceable function, forward pass only.

  Args:
    edges: int32 [E, 2], u < v, unique. self_loops: float32 [N], 1 where A has a 1 on the diagonal.
  """
  n_nodes = self_loops.shape[0]
  every = jnp.arange(n_nodes, dtype=jnp.int32)
  senders = jnp.concatenate([edges[:, 0], edges[:, 1], every])
  receivers = jnp.concatenate([edges[:, 1], edges[:, 0], every])
  order = jnp.argsort(receivers)
  senders, receivers = senders[order], receivers[order]
  is_self = (senders == receivers).astype(jnp.float32)
  neighbours = jax.ops.segment_sum(1.0 - is_self, receivers, n_nodes)
  with_self = neighbours + 1.0 + self_loops
  entry = jnp.where(is_self > 0, 1.0 + self_loops[receivers], 1.0)
  return jraph.GraphsTuple(
    nodes={"self_loops": self_loops},
    edges={
      "gcn": entry / jnp.sqrt(with_self[senders] * with_self[receivers]),
      "mean": (1.0 - is_self) / jnp.maximum(neighbours, 1.0)[receivers],
      "self": is_self,
    },
    senders=senders,
    receivers=receivers,
    globals=None,
    n_node=jnp.array([n_nodes], jnp.int32),
    n_edge=jnp.array([receivers.shape[0]], jnp.int32),
  )
