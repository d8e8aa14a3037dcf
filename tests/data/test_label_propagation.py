"""Label propagation: its fixed point, what it must not read, and its accuracy on Citeseer."""

import numpy as np
import pytest
from data.test_graph_supervision import small_graph

from vita_jax.data import load_graph
from vita_jax.data.label_propagation import accuracy_of, label_propagation


def test_many_iterations_reach_the_closed_form():
  graph = small_graph()
  a = np.zeros((60, 60))
  u, v = graph.edges.T
  a[u, v] = a[v, u] = 1
  s = a / np.sqrt(a.sum(0)[:, None] * a.sum(0))
  known = np.eye(4)[graph.labels] * graph.train_mask[:, None]
  exact = np.linalg.solve(np.eye(60) - 0.8 * s, 0.2 * known)
  found = label_propagation(graph, alpha=0.8, iterations=400)
  np.testing.assert_allclose(found, exact / exact.sum(1, keepdims=True), atol=1e-8)
  assert accuracy_of(graph, found) == 1


def test_labels_of_other_nodes_are_not_read():
  graph = small_graph()
  blind = graph._replace(labels=np.where(graph.train_mask, graph.labels, -1).astype(np.int32))
  np.testing.assert_array_equal(label_propagation(graph), label_propagation(blind))


def test_a_node_that_no_label_reaches_has_no_share():
  graph = small_graph()
  alone = graph._replace(edges=graph.edges[(graph.edges != 59).all(axis=1)])
  assert not label_propagation(alone)[59].any()


def test_citeseer_is_told_by_its_links_better_than_by_chance():
  graph = load_graph("citeseer")
  assert 0.4 < accuracy_of(graph, label_propagation(graph)) < 0.55


@pytest.mark.parametrize("bad", [{"alpha": 1.0}, {"alpha": -0.1}, {"iterations": 0}])
def test_settings_out_of_range_are_refused(bad):
  with pytest.raises(ValueError, match="need 0 <= alpha < 1"):
    label_propagation(small_graph(), **bad)
