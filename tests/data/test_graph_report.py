"""What a task's labels say of a graph: information is told from chance, and numbers are those by hand."""

import numpy as np
from data.test_graph_supervision import make, small_graph

from vita_jax.data.graph_report import label_report, neighbour_r2, purity


def test_reports_tell_information_from_chance(tmp_path):
  graph = small_graph()
  cluster = label_report(graph, make("cluster", tmp_path))
  assert cluster == {"left_out_accuracy": 1.0, "majority_share": 0.25}
  partition = label_report(graph, make("partition", tmp_path))
  control = label_report(graph, make("random_labels", tmp_path))
  assert partition["purity"] == 1 > partition["purity_shuffled"] + 0.3
  assert abs(control["purity"] - control["purity_shuffled"]) < 0.2
  completion = label_report(graph, make("completion", tmp_path))
  assert 0.5 < completion["r2"] <= completion["r2_fitted"] <= 1
  # Words spread at random over the same graph: neighbours tell nothing.
  shuffled = graph._replace(features=graph.features[np.random.default_rng(0).permutation(60)])
  assert label_report(shuffled, make("completion", tmp_path, shuffled))["r2_fitted"] < 0.2


def test_left_out_accuracy_is_not_the_accuracy_of_kept_labels(tmp_path):
  # Labels drawn at random: kept in the target, yet worth nothing when left out.
  graph = small_graph()
  labels = np.random.default_rng(0).permutation(graph.labels)
  noisy = graph._replace(labels=labels)
  found = make("cluster", tmp_path, noisy)
  np.testing.assert_array_equal(found.target[graph.train_mask], labels[graph.train_mask])
  assert label_report(noisy, found)["left_out_accuracy"] < 0.6


def test_purity_and_neighbour_r2_by_hand():
  assert purity(np.array([0, 0, 0, 2, 2]), np.array([1, 1, 0, 0, 1])) == 3 / 5
  # Path 0-1-2 and a node without neighbours; U = (0, 1, 2, 9), M = (1, 1, 1): R^2 = 1 - 2/2 = 0.
  edges = np.array([[0, 1], [1, 2]])
  target = np.array([[0.0], [1.0], [2.0], [9.0]], np.float32)
  assert neighbour_r2(edges, target) == {"r2": 0.0, "r2_fitted": 0.0}
  # Two nodes that predict each other's opposite: M = -U, R^2 = 1 - 4 = -3, the line fits exactly.
  found = neighbour_r2(np.array([[0, 1]]), np.array([[1.0], [-1.0]], np.float32))
  np.testing.assert_allclose([found["r2"], found["r2_fitted"]], [-3, 1])
