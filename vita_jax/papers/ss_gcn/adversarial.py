"""Adversarial training: a fresh network learns, beside the labels, what a first one said of attacked nodes.

A network is trained as usual; nodes without training label are drawn, Nettack perturbs some of them one after
the other on one and the same graph G', against what the network predicts; then a fresh network minimises
`L + CE(clean nodes) + CE(attacked nodes)`, both on G' and against those predictions, where L is the loss of
the target on the clean graph joined with the self-supervised one on G'. Source: paper, section 4.3, and the
released `SS-GCN-adv`; test attacks are by `launch/ss_gcn/attack.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.attacks.cached import accumulated
from vita_jax.attacks.graph_edits import check_attackable
from vita_jax.attacks.surrogate import train_surrogate
from vita_jax.data.graphs import Graph, normalize_rows
from vita_jax.nn import sparse
from vita_jax.nn.graph import adjacency, widened
from vita_jax.papers.ss_gcn import protocol
from vita_jax.papers.ss_gcn.data import supervision_of
from vita_jax.papers.ss_gcn.recipe import Recipe
from vita_jax.papers.ss_gcn.steps import outputs_of
from vita_jax.train.experiment import State, Sweep


def make_enter(recipe: Recipe, model: Any, graph: Graph, init_params: Callable) -> Callable:
  """Returns `enter(state, sweep)` of the second stage: the attacked graph in the state, weights drawn anew.

  Raises:
    ValueError: a graph that cannot be attacked, or fewer unlabelled nodes than are drawn.
  """
  check_attackable(graph, features=recipe.attack_words > 0)
  pool, drawn = int((~graph.train_mask).sum()), recipe.n_clean + recipe.n_attacked
  if drawn > pool:
    raise ValueError(
      f"config.attack.n_clean and n_attacked draw {drawn} nodes, but only {pool} have no training label:"
      " give fewer"
    )
  weight = train_surrogate(graph)
  return functools.partial(enter, recipe, model, graph, init_params, weight)


def enter(
  recipe: Recipe,
  model: Any,
  graph: Graph,
  init_params: Callable,
  weight: np.ndarray,
  state: State,
  sweep: Sweep,
) -> State:
  """Draws nodes, has them attacked on the host, and starts a fresh network; the result is in `attacked`."""
  logits = sweep(functools.partial(_logits, model), state)
  labels = logits.argmax(-1).astype(jnp.int32)
  key = jax.random.fold_in(state["key"], 4)
  unlabelled = np.flatnonzero(~graph.train_mask).astype(np.int32)
  order = jax.random.permutation(key, unlabelled)[: recipe.n_clean + recipe.n_attacked]
  clean, targets = order[: recipe.n_clean], order[recipe.n_clean :]
  attack = functools.partial(attacked_inputs, recipe, graph, weight)
  nobody = np.zeros(0, np.int32)
  shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), attack(nobody, nobody))
  # On the host: Nettack's choices are discrete. The result depends on nothing but the arguments.
  found = jax.pure_callback(attack, shapes, targets, labels[targets], vmap_method="sequential")
  none = jnp.zeros(len(graph.labels))
  masks = {"clean": none.at[clean].set(1.0), "attacked": none.at[targets].set(1.0)}
  params = init_params(jax.random.fold_in(key, 1))
  fresh = {"params": params, "tx": recipe.tx.init(params), "key": jax.random.fold_in(key, 2)}
  start = protocol.start(recipe.protocol, params)
  return {**state, **fresh, **start, "attacked": {**found, "labels": labels, "masks": masks}}


def attacked_inputs(
  recipe: Recipe, graph: Graph, weight: np.ndarray, targets: Any, labels: Any
) -> dict[str, Any]:
  """Returns what training reads of the attacked graph; shapes are those of the largest one possible.

  Args:
    recipe: budgets, task and normalisation.
    graph: the clean graph.
    weight: of the surrogate.
    targets: int [T], attacked in this order.
    labels: int [T], what they are predicted to be.

  Returns:
    `adjacency`, `features` (`Sparse`), and with partition or completion `ss_target`, made of the attacked
    graph; labels by cluster stay those of the clean features.
  """
  found = accumulated(
    graph,
    weight,
    np.asarray(targets),
    np.asarray(labels),
    n_links=recipe.attack_links,
    n_words=recipe.attack_words,
    cache_dir=recipe.cache_dir,
  )
  matrices = adjacency(found.edges, found.self_loops, len(found.labels))
  features = sparse.from_scipy(normalize_rows(found.features, recipe.normalization))
  n_edges = 2 * len(graph.edges) + len(graph.labels) + 2 * recipe.n_attacked * recipe.attack_links
  n_values = graph.features.nnz + recipe.n_attacked * recipe.attack_words
  inputs: dict[str, Any] = {
    "adjacency": widened(matrices, n_edges),
    "features": sparse.Sparse(*(sparse.widened(one, n_values) for one in features[:2])),
  }
  if recipe.task in ("partition", "completion"):
    supervision = supervision_of(recipe, found)
    assert supervision is not None
    inputs["ss_target"] = supervision.target
  return inputs


def _logits(model: Any, state: State, batch: Any) -> jax.Array:
  return outputs_of(model, state, batch)["target"]
