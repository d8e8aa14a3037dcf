"""A small graph as a user's file, and the same graph without labels and masks."""

import numpy as np
import pytest
from laws.small_graph import write_small_graph


@pytest.fixture(scope="session")
def graph(tmp_path_factory):
  """A user's graph: 120 nodes, 3 classes, 24 features."""
  return write_small_graph(tmp_path_factory.mktemp("graph") / "graph.npz")


@pytest.fixture(scope="session")
def unlabelled(graph, tmp_path_factory):
  """`graph` without labels and masks."""
  return _without_labels(graph, tmp_path_factory.mktemp("graph") / "unlabelled.npz")


@pytest.fixture(scope="session")
def another(tmp_path_factory):
  """A graph without labels that has other numbers of nodes and edges than `graph`."""
  folder = tmp_path_factory.mktemp("graph")
  other = write_small_graph(folder / "other.npz", n_per_class=33, seed=5)
  return _without_labels(other, folder / "another.npz")


def _without_labels(path, target):
  with np.load(path) as arrays:
    np.savez(target, edges=arrays["edges"], features=arrays["features"])
  return str(target)
