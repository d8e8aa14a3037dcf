"""Node clustering: k-means in feature space, clusters named after the nearest labelled class."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

N_INIT = 10  # scikit-learn's default when the paper's labels were made; today's differs


class Clusters(NamedTuple):
  """What k-means found: `assignment` int32 [N], the cluster of each node; `centroids` [K, F]."""

  assignment: np.ndarray
  centroids: np.ndarray


def align_clusters(cluster_of_node: Any, cluster_centroids: Any, class_centroids: Any) -> Any:
  """Gives each node the class whose centroid is nearest to the centroid of the node's cluster.

  class(i) = argmin_c || cluster_centroids[cluster_of_node[i]] - class_centroids[c] ||_2, the
  lowest class winning ties. Written with array operators only: the same code serves numpy arrays
  on the host and traced JAX arrays (self-training).

  Args:
    cluster_of_node: int32 [N], values in [0, K).
    cluster_centroids: float [K, F].
    class_centroids: float [C, F]; a row of +inf is a class that no cluster can get.

  Returns:
    int [N], values in [0, C).

  Source: paper, section 3, node clustering; the released `clu.py`.
  """
  distance = ((cluster_centroids[:, None, :] - class_centroids[None, :, :]) ** 2).sum(axis=-1)
  return distance.argmin(axis=1)[cluster_of_node]


def class_centroids(features: Any, labels: np.ndarray, mask: np.ndarray, *, n_classes: int) -> np.ndarray:
  """Computes the mean feature row of the nodes of each class inside `mask`; labels outside it are not read.

  Args:
    features: float [N, F], dense or CSR.
    labels: int [N].
    mask: bool [N].
    n_classes: C.

  Returns:
    float32 [C, F]; a class without a node in `mask` gets a row of +inf.

  Raises:
    ValueError: a node in `mask` has no label in [0, C), or `mask` is empty.
  """
  rows = np.flatnonzero(mask)
  classes = labels[rows]
  if rows.size == 0:
    raise ValueError("no labelled node to align clusters with: give at least one training node")
  if classes.min() < 0 or classes.max() >= n_classes:
    raise ValueError(
      f"training labels span {classes.min()}..{classes.max()}, need 0..{n_classes - 1}: "
      "fix labels, train_mask or n_classes"
    )
  one_hot = (classes[None, :] == np.arange(n_classes)[:, None]).astype(np.float32)
  count = one_hot.sum(axis=1, keepdims=True)
  sums = one_hot @ features[rows]
  return np.where(count > 0, sums / np.maximum(count, 1), np.inf).astype(np.float32)


def kmeans_clusters(features: Any, *, n_clusters: int, seed: int = 0) -> Clusters:
  """Runs scikit-learn's k-means (k-means++, 10 restarts, Lloyd) on dense float32 rows.

  The rows are always made dense: scikit-learn centres dense data but not sparse data, so the two
  forms round differently and can end in different optima; the released code uses dense rows.

  Args:
    features: float [N, F], dense or CSR, normalised.
    n_clusters: K.
    seed: scikit-learn's `random_state`.

  Raises:
    ValueError: n_clusters is not in [1, N].
  """
  from sklearn.cluster import KMeans  # slow to import
  from threadpoolctl import threadpool_limits  # comes with scikit-learn

  n_nodes = features.shape[0]
  if not 1 <= n_clusters <= n_nodes:
    raise ValueError(f"n_clusters={n_clusters} must be between 1 and the {n_nodes} nodes")
  dense = features.toarray() if scipy.sparse.issparse(features) else np.asarray(features)
  kmeans = KMeans(n_clusters, init="k-means++", n_init=N_INIT, random_state=seed)
  # One thread: the same sums on every machine, and no threads spinning where cores are shared.
  with threadpool_limits(1):
    found = kmeans.fit(dense.astype(np.float32, copy=False))
  return Clusters(found.labels_.astype(np.int32), found.cluster_centers_.astype(np.float32))


def target_from_clusters(
  clusters: Clusters,
  features: Any,
  labels: np.ndarray,
  train_mask: np.ndarray,
  *,
  n_classes: int,
  align: str,
) -> np.ndarray:
  """Makes the target of the clustering task.

  "classes": each cluster takes the class whose labelled centroid (mean feature row of the
  training nodes of that class) is nearest in L2 to the cluster's centroid; a node's label is the
  class of its cluster, and training nodes keep their true label. "none": the cluster numbers.

  Args:
    clusters: of the features, float [N, F], dense or CSR.
    labels: int [N]; only those of training nodes are read.
    train_mask: bool [N].
    n_classes: C.
    align: "classes" or "none".

  Returns:
    int32 [N], in [0, C) for "classes" and [0, K) for "none".

  Raises:
    ValueError: unknown `align`, or a training node without a valid label.

  Source: paper, section 3, node clustering; the released `clu.py`.
  """
  if align == "none":
    return clusters.assignment
  if align != "classes":
    raise ValueError(f"align={align!r} must be 'classes' or 'none'")
  centroids = class_centroids(features, labels, train_mask, n_classes=n_classes)
  aligned = align_clusters(clusters.assignment, clusters.centroids, centroids)
  return np.where(train_mask, labels, aligned).astype(np.int32)
