"""What a self-supervised target says about a graph before any training: helps choose a task."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from vita_jax.data.graph_clusters import Clusters, align_clusters, class_centroids
from vita_jax.data.graph_supervision import SelfSupervision
from vita_jax.data.graphs import Graph, normalize_rows

N_FOLDS = 5
N_SHUFFLES = 100


def label_report(graph: Graph, supervision: SelfSupervision) -> dict[str, float]:
  """Measures how much a task's target agrees with the training labels, or with the graph.

  cluster: `left_out_accuracy`, share of training nodes whose cluster gets their class when the
    labels of their fold (a fifth of each class) are left out, beside `majority_share`.
  partition, random_labels: `purity`, share of training nodes in the majority class of their part
    (both by training labels), beside `purity_shuffled`, its mean over 100 permutations of these
    labels: with few training nodes per part, chance alone gives a high purity.
  completion: `r2`, 1 - sum |U - M|^2 / sum |U - mean U|^2, where M_i is the mean of U over the
    neighbours of node i, over nodes that have one; and `r2_fitted`, the same with the best line
    from M to U in each column.

  Only training labels are read. Source: You et al., ICML 2020, the discussion of which task helps where.
  """
  rows = np.flatnonzero(graph.train_mask)
  labels = graph.labels[rows]
  if supervision.clusters is not None:
    return {
      "left_out_accuracy": left_out_accuracy(
        graph, supervision.clusters, normalization=supervision.meta["normalization"]
      ),
      "majority_share": float(np.bincount(labels).max() / len(labels)),
    }
  if supervision.task == "completion":
    return neighbour_r2(graph.edges, supervision.target)
  parts = supervision.target[rows]
  shuffle = np.random.default_rng(0).permutation
  shuffled = [purity(parts, shuffle(labels)) for _ in range(N_SHUFFLES)]
  return {"purity": purity(parts, labels), "purity_shuffled": float(np.mean(shuffled))}


def purity(parts: np.ndarray, labels: np.ndarray) -> float:
  """Computes the share of nodes whose label is the most frequent of their part; both int [n], >= 0."""
  table = np.zeros((parts.max() + 1, labels.max() + 1), np.int64)
  np.add.at(table, (parts, labels), 1)
  return float(table.max(axis=1).sum() / len(labels))


def left_out_accuracy(graph: Graph, clusters: Clusters, *, normalization: str) -> float:
  """Computes the cross-validated accuracy of the classes of clusters on training nodes, in 5 folds."""
  features = normalize_rows(graph.features, normalization)
  fold = np.full(len(graph.labels), -1)
  for c in range(graph.n_classes):
    rows = np.flatnonzero(graph.train_mask & (graph.labels == c))
    fold[rows] = np.arange(len(rows)) % N_FOLDS
  n_folds = int(fold.max()) + 1
  if n_folds < 2:
    raise ValueError("left-out accuracy needs a class with at least two training nodes")
  correct = 0
  for k in range(n_folds):
    kept = graph.train_mask & (fold != k)
    centroids = class_centroids(features, graph.labels, kept, n_classes=graph.n_classes)
    aligned = align_clusters(clusters.assignment, clusters.centroids, centroids)
    correct += int((aligned == graph.labels)[fold == k].sum())
  return correct / int(graph.train_mask.sum())


def neighbour_r2(edges: np.ndarray, target: np.ndarray) -> dict[str, float]:
  """Computes the R^2 of predicting float [N, r] targets by neighbour means; see `label_report`."""
  n_nodes = len(target)
  u, v = edges.T
  adjacency = scipy.sparse.csr_matrix(
    (np.ones(2 * len(u)), (np.r_[u, v], np.r_[v, u])), shape=(n_nodes, n_nodes)
  )
  degree = np.asarray(adjacency.sum(axis=1)).ravel()
  inside = degree > 0
  mean = (adjacency @ target)[inside] / degree[inside, None]
  target = target[inside].astype(np.float64)
  total = ((target - target.mean(axis=0)) ** 2).sum()
  x, y = mean - mean.mean(axis=0), target - target.mean(axis=0)
  variance = (x**2).sum(axis=0)
  slope = np.divide((x * y).sum(axis=0), variance, out=np.zeros_like(variance), where=variance > 0)
  return {
    "r2": float(1 - ((target - mean) ** 2).sum() / total),
    "r2_fitted": float(1 - ((y - slope * x) ** 2).sum() / total),
  }
