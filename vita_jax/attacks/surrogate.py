"""The linear surrogate of transfer attacks: the weights, multiplied, of the attacker's own network."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vita_jax.data.graphs import Graph, normalize_rows
from vita_jax.losses.xent import cross_entropy
from vita_jax.nn import sparse
from vita_jax.nn.dropout import dropout
from vita_jax.nn.graph import adjacency, propagate
from vita_jax.nn.linear import uniform_fan_in


def train_surrogate(
  graph: Graph,
  *,
  seed: int = 0,
  hidden: int = 16,
  epochs: int = 200,
  learning_rate: float = 0.01,
  weight_decay: float = 5e-4,
) -> np.ndarray:
  """Trains a two-layer GCN on a graph's training labels and returns W0 W1, float64 [F, C].

  `Z = Â drop(relu(Â X W0)) W1` with row-normalised X, dropout 0.5, Adam with L2 in the gradient, a fixed
  number of epochs: nothing of the network that will be attacked, nor of validation labels, enters.

  Args:
    graph: with training labels.
    seed: of initial weights and dropout.
    hidden: width.
    epochs: full-batch steps.
    learning_rate: Adam's.
    weight_decay: coefficient of the L2 term.
  """
  n_features, n_classes = graph.features.shape[1], graph.n_classes
  keys = jax.random.split(jax.random.key(seed), 3)
  shapes = (n_features, hidden), (hidden, n_classes)
  params = [uniform_fan_in(s[0])(k, s) for k, s in zip(keys[:2], shapes, strict=True)]
  links: dict[str, Any] = {"edge_weight": graph.edge_weight, "loop_weight": graph.loop_weight}
  matrices = adjacency(graph.edges, graph.self_loops, len(graph.labels), **links)
  features = sparse.from_scipy(normalize_rows(graph.features, "row"))
  labels = jnp.asarray(np.maximum(graph.labels, 0)), jnp.asarray(graph.train_mask)
  w0, w1 = _train(learning_rate, weight_decay, epochs, params, keys[2], features, matrices, labels)
  return np.asarray(w0, np.float64) @ np.asarray(w1, np.float64)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))  # of numbers, so that it is compiled once
def _train(learning_rate, weight_decay, epochs, params, key, features, matrices, labels):
  tx = optax.chain(optax.add_decayed_weights(weight_decay), optax.adam(learning_rate))

  def loss(params, key):
    h = jax.nn.relu(propagate(matrices, sparse.matmul(features, params[0]), matrices.gcn))
    logits = propagate(matrices, dropout(key, h, 0.5) @ params[1], matrices.gcn)
    return cross_entropy(logits, *labels)

  def step(carry, t):
    params, state = carry
    updates, state = tx.update(jax.grad(loss)(params, jax.random.fold_in(key, t)), state, params)
    return (optax.apply_updates(params, updates), state), None

  return jax.lax.scan(step, (params, tx.init(params)), jnp.arange(epochs))[0][0]
