"""Clusters named by class: hand-made cases, the independent rule, and no look at test labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from vita_jax.data.graph_clusters import (
  align_clusters,
  class_centroids,
  kmeans_clusters,
  target_from_clusters,
)
from vita_jax.data.graphs import load_graph, normalize_rows


def cluster_labels(features, labels, train_mask, *, n_classes, n_clusters, align="classes"):
  clusters = kmeans_clusters(features, n_clusters=n_clusters)
  return target_from_clusters(clusters, features, labels, train_mask, n_classes=n_classes, align=align)


def two_blobs():
  rng = np.random.default_rng(0)
  truth = np.repeat([0, 1], 50)
  features = np.where(truth[:, None] == [0, 0, 1, 1], 10.0, 0.0) + rng.random((100, 4))
  features = (features / features.sum(1, keepdims=True)).astype(np.float32)
  train_mask = np.zeros(100, bool)
  train_mask[[0, 1, 50]] = True
  return features, truth, train_mask


@pytest.fixture(scope="module")
def papers():
  """The first 500 papers of Citeseer and their 800 commonest words: quick to cluster."""
  graph = load_graph("citeseer")
  common = np.argsort(-np.diff(graph.features[:500].tocsc().indptr), kind="stable")[:800]
  features = normalize_rows(graph.features[:500][:, common], "row")
  return features, graph.labels[:500], graph.train_mask[:500]


def test_align_clusters_by_hand():
  clusters = np.array([[0.0, 0.0], [4.0, 0.0], [10.0, 10.0]])
  classes = np.array([[3.0, 0.0], [1.0, 0.0]])
  of_node = np.array([2, 1, 0, 0])
  # (10,10): 149 against 181; (4,0): 1 against 9; (0,0): 9 against 1.
  np.testing.assert_array_equal(align_clusters(of_node, clusters, classes), [0, 0, 1, 1])
  traced = jax.jit(align_clusters)(jnp.array(of_node), jnp.array(clusters), jnp.array(classes))
  np.testing.assert_array_equal(traced, [0, 0, 1, 1])


def test_a_class_without_labelled_nodes_gets_no_cluster():
  features = np.array([[0.0], [1.0], [9.0]], np.float32)
  labels = np.array([0, 2, 1])
  centroids = class_centroids(features, labels, np.array([True, True, False]), n_classes=3)
  np.testing.assert_array_equal(centroids, [[0.0], [np.inf], [1.0]])
  np.testing.assert_array_equal(align_clusters(np.array([0]), features[2:], centroids), [2])


def test_two_blobs_are_named_exactly():
  features, truth, train_mask = two_blobs()
  for n_clusters in (2, 10):
    found = cluster_labels(features, truth, train_mask, n_classes=2, n_clusters=n_clusters)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, truth)


def test_training_nodes_keep_their_label_even_against_their_cluster():
  features, truth, train_mask = two_blobs()
  train_mask[:10] = True
  given = truth.copy()
  given[3] = 1  # a training node deep in the other blob
  found = cluster_labels(features, given, train_mask, n_classes=2, n_clusters=2)
  expected = truth.copy()
  expected[3] = 1
  np.testing.assert_array_equal(found, expected)


def test_labels_outside_the_training_set_are_never_read():
  features, truth, train_mask = two_blobs()
  hidden = np.where(train_mask, truth, -7)
  options = {"n_classes": 2, "n_clusters": 10}
  np.testing.assert_array_equal(
    cluster_labels(features, hidden, train_mask, **options),
    cluster_labels(features, truth, train_mask, **options),
  )


def test_rule_equals_scikit_learns_nearest_row(papers):
  pairwise = pytest.importorskip("sklearn.metrics.pairwise")
  features, labels, train_mask = papers
  found = cluster_labels(features, labels, train_mask, n_classes=6, n_clusters=20)
  clusters = kmeans_clusters(features, n_clusters=20)
  rows = [features[train_mask & (labels == c)].toarray().mean(0) for c in range(6)]
  nearest = pairwise.pairwise_distances_argmin(clusters.centroids, np.stack(rows))
  expected = nearest[clusters.assignment]
  np.testing.assert_array_equal(found, np.where(train_mask, labels, expected))
  # The targets carry information: six classes would be met 1 time in 6 by chance.
  known = ~train_mask & (labels >= 0)
  assert (found == labels)[known].mean() > 0.3


def test_sparse_and_dense_rows_and_repeated_runs_agree(papers):
  features = papers[0]
  sparse = kmeans_clusters(features, n_clusters=20, seed=1)
  dense = kmeans_clusters(features.toarray(), n_clusters=20, seed=1)
  np.testing.assert_array_equal(sparse.assignment, dense.assignment)
  np.testing.assert_array_equal(sparse.centroids, dense.centroids)
  assert sparse.assignment.dtype == np.int32 and sparse.centroids.dtype == np.float32
  assert set(sparse.assignment) == set(range(20))
  other = kmeans_clusters(features, n_clusters=20, seed=2)
  assert (other.assignment != sparse.assignment).any()


def test_cluster_numbers_without_alignment(papers):
  features, labels, train_mask = papers
  found = cluster_labels(features, labels, train_mask, n_classes=6, n_clusters=20, align="none")
  np.testing.assert_array_equal(found, kmeans_clusters(features, n_clusters=20).assignment)


def test_bad_input_is_named():
  features, truth, train_mask = two_blobs()

  def call(labels=truth, mask=train_mask, **options):
    options = {"n_classes": 2, "n_clusters": 2} | options
    cluster_labels(scipy.sparse.csr_matrix(features), labels, mask, **options)

  with pytest.raises(ValueError, match="align='raw' must be 'classes' or 'none'"):
    call(align="raw")
  with pytest.raises(ValueError, match="n_clusters=101 must be between 1 and the 100 nodes"):
    call(n_clusters=101)
  with pytest.raises(ValueError, match="training labels span -1..-1"):
    call(labels=np.full(100, -1))
  with pytest.raises(ValueError, match="at least one training node"):
    call(mask=np.zeros(100, bool))
