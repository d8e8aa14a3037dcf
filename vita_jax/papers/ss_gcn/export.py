"""What a user takes away: the weights, and a program from a graph as plain arrays to class probabilities."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import jraph
import numpy as np

from vita_jax.attacks.defences import Defence, defended, known_of, looked_up, similarity
from vita_jax.data.graphs import Graph, check_normalizable, load_unlabelled_npz, normalize_rows
from vita_jax.nn import sparse
from vita_jax.papers.ss_gcn.model import HOSTS
from vita_jax.papers.ss_gcn.recipe import Recipe
from vita_jax.train.experiment import Exported

INSIDE = {
  "binary": "entries that are not 0 become 1 inside (normalization=binary)",
  "binary_row": "entries that are not 0 become 1, divided by how many a row has (normalization=binary_row)",
  "none": "taken as they are (normalization=none)",
  "row": "each row is divided by its sum inside (normalization=row)",
  "abs": "each row is divided by its sum of magnitudes inside (normalization=abs)",
  "l2": "each row is divided by its Euclidean length inside (normalization=l2)",
}


def make_export(model: Any, params: Any, graph: Graph, *, normalization: str, defence: Defence) -> Exported:
  """Returns the exported form of a trained network.

  Args:
    model: the host.
    params: its weights.
    graph: what it was trained on.
    normalization: of the features, as in training.
    defence: of the graph, as in training; it is part of the program.
  """
  n_features = graph.features.shape[1]
  return Exported(
    params=params,
    program=functools.partial(_program, model, normalization, defence),
    inputs={
      "features": (f"nodes, {n_features}", "float32"),
      "edges": ("edges, 2", "int32"),
      "edge_weight": ("edges", "float32"),
      "self_loops": ("nodes", "float32"),
    },
    read=functools.partial(_read, n_features, normalization),
    card={
      "inputs": {
        "features": f"raw node features, {INSIDE[normalization]}",
        "edges": "undirected edges u < v, each once, without self-loops",
        "edge_weight": "weight of each edge, above 0; 1 where a graph has none",
        "self_loops": "weight of a raw self-loop, 1 where a graph has no weights; 0 without one",
      },
      "defence": defence.name,
      "outputs": {"labels": "int32 [nodes]", "probabilities": f"float32 [nodes, {graph.n_classes}]"},
      "trained on": {
        "graph": graph.name,
        "sha256": graph.sha256,
        "labelled nodes": int(graph.train_mask.sum()),
      },
    },
  )


def _program(
  model: Any,
  normalization: str,
  defence: Defence,
  params: Any,
  *,
  features: jax.Array,
  edges: jax.Array,
  edge_weight: jax.Array,
  self_loops: jax.Array,
) -> dict[str, jax.Array]:
  n_nodes = self_loops.shape[0]
  every = jnp.arange(n_nodes, dtype=jnp.int32)
  graph = jraph.GraphsTuple(
    nodes=None,
    edges={"weight": jnp.concatenate([edge_weight, edge_weight, self_loops])},
    senders=jnp.concatenate([edges[:, 0], edges[:, 1], every]),
    receivers=jnp.concatenate([edges[:, 1], edges[:, 0], every]),
    globals=None,
    n_node=jnp.array([n_nodes], jnp.int32),
    n_edge=jnp.array([2 * edges.shape[0] + n_nodes], jnp.int32),
  )
  read = defended(graph, functools.partial(similarity, features != 0), n_nodes, defence)
  outputs = model.apply({"params": params}, normalize_rows(features, normalization), read, "full", None)
  probabilities = jax.nn.softmax(outputs["target"], axis=-1)
  return {"labels": jnp.argmax(probabilities, axis=-1).astype(jnp.int32), "probabilities": probabilities}


def attacked(recipe: Recipe, graph: Graph, params: Any) -> Any:
  """Returns the trained networks of a run as `make_victim` does; params have a leading axis of seeds."""
  model = HOSTS[recipe.host](
    n_classes=graph.n_classes, hidden=recipe.hidden, dtype=jnp.dtype(recipe.dtype)
  )  # without the task's head, which attacks do not read
  return make_victim(model, params, graph, normalization=recipe.normalization, defence=recipe.defence)


def make_victim(model: Any, params: Any, graph: Graph, *, normalization: str, defence: Defence) -> Any:
  """Returns trained networks as attacks take them: `logits(graph) -> float32 [S, N, C]`.

  The features are those of the graph given here, but for one node's where an attack changed them
  (`graph.globals`); the links are read from the argument, and defended.

  Args:
    model: see `make_export`, as for the others.
    params: weights of S seeds, with a leading axis.
  """
  features = sparse.from_scipy(normalize_rows(graph.features, normalization))
  held = jax.tree.map(jnp.asarray, (params, features, known_of(graph, defence)))
  return functools.partial(_victim, model, normalization, defence, *held)


def _victim(
  model: Any, normalization: str, defence: Defence, params: Any, features: Any, known: Any, graph: Any
) -> jax.Array:
  n_nodes, changed = sparse.shape(features)[0], graph.globals
  alike = functools.partial(looked_up, known.table, features, changed)
  if changed is not None:
    row = normalize_rows(changed.row[None], normalization)[0]
    features = sparse.RowReplaced(features, changed.node, row)
  read = defended(graph, alike, n_nodes, defence, near=known.near)
  one = functools.partial(model.apply, features=features, graph=read, view="full", key=None)
  if jax.tree.leaves(params)[0].shape[0] == 1:  # jax 0.10 on the CPU sums products of axis 1 slowly
    return one({"params": jax.tree.map(lambda x: x[0], params)})["target"][None]
  return jax.vmap(lambda p: one({"params": p})["target"])(params)


def _read(n_features: int, normalization: str, path: str) -> dict[str, np.ndarray]:
  data = load_unlabelled_npz(path, n_features=n_features)
  check_normalizable(data.features, normalization)
  loops = np.zeros(data.features.shape[0], np.float32)
  loops[data.self_loops] = 1.0 if data.loop_weight is None else data.loop_weight
  ones = np.ones(len(data.edges), np.float32)
  return {
    "features": np.asarray(data.features.todense(), np.float32),
    "edges": data.edges.astype(np.int32),
    "edge_weight": ones if data.edge_weight is None else data.edge_weight,
    "self_loops": loops,
  }
