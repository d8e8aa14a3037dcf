"""Label propagation: what the links alone say of unlabelled nodes, a baseline without any training."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from vita_jax.data.graphs import Graph


def label_propagation(graph: Graph, *, alpha: float = 0.9, iterations: int = 100) -> np.ndarray:
  """Spreads the training labels over the links and returns shares of classes, float64 [N, C].

  `F <- α D^-1/2 A D^-1/2 F + (1 - α) Y` from F = Y, the one-hot training labels; rows are then divided by
  their sums. Nodes that no label reaches keep a row of zeros.

  Args:
    graph: labels outside `train_mask` are not read.
    alpha: how much comes from neighbours, from 0 on and below 1.
    iterations: how often; at least 1.

  Raises:
    ValueError: alpha or iterations out of range.

  Source: Zhou et al., Learning with Local and Global Consistency, NIPS 2003.

  Examples:
    >>> from vita_jax.data import load_graph
    >>> label_propagation(load_graph("citeseer")).shape
    (3327, 6)
  """
  if not 0 <= alpha < 1 or iterations < 1:
    raise ValueError(f"need 0 <= alpha < 1 and iterations >= 1, got {alpha} and {iterations}")
  n_nodes = len(graph.labels)
  u, v = graph.edges.T
  weight = np.ones(len(u)) if graph.edge_weight is None else graph.edge_weight.astype(np.float64)
  a = sp.csr_matrix((np.r_[weight, weight], (np.r_[u, v], np.r_[v, u])), shape=(n_nodes, n_nodes))
  degree = np.asarray(a.sum(axis=1)).ravel()
  scale = sp.diags(np.divide(1.0, np.sqrt(degree), out=np.zeros(n_nodes), where=degree > 0))
  spread = scale @ a @ scale
  known = np.zeros((n_nodes, graph.n_classes))
  rows = np.flatnonzero(graph.train_mask)
  known[rows, graph.labels[rows]] = 1
  found = known
  for _ in range(iterations):
    found = alpha * (spread @ found) + (1 - alpha) * known
  total = found.sum(axis=1, keepdims=True)
  return np.divide(found, total, out=np.zeros_like(found), where=total > 0)


def accuracy_of(graph: Graph, shares: np.ndarray) -> float:
  """Computes the accuracy of the largest shares on the test nodes; a row of zeros counts as class 0."""
  return float((shares.argmax(axis=1) == graph.labels)[graph.test_mask].mean())
