"""METIS parts: the recorded cuts, balance, an independent recount, purity against chance."""

import importlib.util
import os
import sys

import numpy as np
import pytest

from vita_jax.data.graph_parts import partition_labels
from vita_jax.data.graph_report import purity
from vita_jax.data.graphs import load_graph

needs_metis = pytest.mark.skipif(
  importlib.util.find_spec("pymetis") is None, reason="pymetis is not installed"
)

# Edge cuts measured with pymetis 2025.2.2, seed 0; purity of 14 parts over all labelled nodes.
CUTS = {
  ("cora", 8): 526, ("citeseer", 8): 167, ("pubmed", 8): 5296,
  ("cora", 14): 684, ("citeseer", 14): 299, ("pubmed", 14): 7261,
}  # fmt: skip
PURITY = {"cora": 0.679, "citeseer": 0.507, "pubmed": 0.705}


def graph_or_skip(name):
  if name != "citeseer" and not os.environ.get("VITA_DATA_DIR"):
    pytest.skip(f"{name} is not shipped: set VITA_DATA_DIR to a folder with planetoid/{name}.npz")
  return load_graph(name)


@needs_metis
@pytest.mark.parametrize("name, n_parts", CUTS)
def test_cut_and_balance_as_recorded(name, n_parts):
  graph = graph_or_skip(name)
  n_nodes = len(graph.labels)
  parts, edge_cut = partition_labels(graph.edges, n_nodes, n_parts=n_parts)
  assert parts.dtype == np.int32 and parts.shape == (n_nodes,)
  assert set(parts) == set(range(n_parts))
  assert abs(edge_cut - CUTS[name, n_parts]) <= 0.1 * CUTS[name, n_parts]
  assert edge_cut == (parts[graph.edges[:, 0]] != parts[graph.edges[:, 1]]).sum()
  # METIS promises 3 %, up to rounding to whole nodes.
  assert np.bincount(parts).max() <= 1.03 * n_nodes / n_parts + 1


@needs_metis
@pytest.mark.parametrize("name", PURITY)
def test_parts_are_purer_than_random_balanced_parts(name):
  graph = graph_or_skip(name)
  known = graph.labels >= 0
  parts, _ = partition_labels(graph.edges, len(known), n_parts=14)
  shuffled = np.random.default_rng(0).permutation(parts)
  metis, chance = (purity(p[known], graph.labels[known]) for p in (parts, shuffled))
  # Between chance and the recorded purity: METIS passes, random balanced parts do not.
  bar = (chance + PURITY[name]) / 2
  assert PURITY[name] - chance > 0.2
  assert metis > bar > chance
  np.testing.assert_allclose(metis, PURITY[name], atol=0.05)


@needs_metis
def test_two_cliques_are_cut_at_their_bridge():
  clique = np.argwhere(np.triu(np.ones((6, 6)), 1))
  edges = np.concatenate([clique, clique + 6, [[0, 6]]])
  parts, edge_cut = partition_labels(edges, 12, n_parts=2)
  assert edge_cut == 1
  assert len(set(parts[:6])) == len(set(parts[6:])) == 1 and parts[0] != parts[6]
  # Loops, repeats and directions change nothing.
  messy = np.concatenate([edges, edges[:, ::-1], [[3, 3]]])
  again, cut_again = partition_labels(messy, 12, n_parts=2)
  np.testing.assert_array_equal(again, parts)
  assert cut_again == 1


@needs_metis
def test_repeated_calls_are_identical():
  graph = load_graph("citeseer")
  first, second = (partition_labels(graph.edges, 3327, n_parts=14, seed=3) for _ in range(2))
  np.testing.assert_array_equal(first[0], second[0])
  assert first[1] == second[1]


def test_missing_pymetis_says_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, "pymetis", None)
  with pytest.raises(ImportError, match=r'pip install "vita_jax\[graph\]"') as error:
    partition_labels(np.array([[0, 1]]), 2, n_parts=2)
  assert "\n" not in str(error.value)


@needs_metis
@pytest.mark.parametrize(
  "edges, n_parts, message",
  [
    (np.array([[0, 4]]), 2, "edges name nodes 0..4, need 0..3"),
    (np.array([[-1, 2]]), 2, "edges name nodes -1..2, need 0..3"),
    (np.array([0, 1, 2]), 2, r"need \[E, 2\]"),
    (np.array([[0, 1]]), 1, "n_parts=1 must be between 2 and the 4 nodes"),
    (np.array([[0, 1]]), 5, "n_parts=5 must be between 2 and the 4 nodes"),
  ],
)
def test_bad_input_is_named(edges, n_parts, message):
  with pytest.raises(ValueError, match=message):
    partition_labels(edges, 4, n_parts=n_parts)
