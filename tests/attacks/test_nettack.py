"""Nettack: its flips are those of a dense oracle, and its parts have the values of hand-worked examples."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from attacks import oracle

from vita_jax.attacks import nettack
from vita_jax.attacks.graph_edits import apply_flips, flip_links, links_matrix
from vita_jax.attacks.surrogate import train_surrogate
from vita_jax.data.graphs import graph_from_arrays, load_graph

FIXTURES = Path(__file__).parent / "fixtures"


def make_graph(seed, n_nodes=14, n_features=10, loops=False):
  random = np.random.default_rng(seed)
  edges = np.argwhere(np.triu(random.random((n_nodes, n_nodes)) < 0.2, 1))
  arrays = {
    "edges": edges,
    "features": (random.random((n_nodes, n_features)) < 0.3).astype(np.float32),
    "labels": random.integers(3, size=n_nodes),
    "train_mask": np.arange(5),
    "val_mask": np.arange(5, 9),
    "self_loop_nodes": np.array([0, 3]) if loops else np.zeros(0, np.int64),
    "num_classes": np.int64(3),
  }
  return graph_from_arrays(arrays, name="random", sha256=""), random.standard_normal((n_features, 3))


def dense(graph):
  a = links_matrix(graph).toarray()
  a[graph.self_loops, graph.self_loops] = 1
  return a


@pytest.mark.parametrize("threshold", [np.inf, 0.004, 1e-4])
@pytest.mark.parametrize("loops", [False, True])
def test_flips_are_the_oracles(threshold, loops):
  n_found = 0
  for seed in range(6):
    graph, w = make_graph(seed, loops=loops)
    surrogate, x = nettack.prepare(graph, w), graph.features.toarray().astype(float)
    for target in range(0, 14, 3):
      label = int(graph.labels[target])
      slip = seed % 2 == 1
      expected = oracle.attack(dense(graph), x, w, target, label, 3, 5, threshold, slip)
      found = nettack.nettack(
        surrogate, target, label, n_links=3, n_words=5, degree_threshold=threshold, released_sign=slip
      )
      assert (found.links.tolist(), found.words.tolist()) == expected, (seed, target)
      n_found += len(found.links)
  assert n_found > 10


def test_every_candidates_logits_are_those_of_a_dense_recomputation():
  graph, w = make_graph(3, loops=True)
  surrogate, a, x = nettack.prepare(graph, w), dense(graph), graph.features.toarray()
  local = nettack._start(surrogate, 3)
  for flipped in (None, 7, 0):  # the second and third flip stand on the ones before
    if flipped is not None:
      local, a = nettack._flipped(surrogate, local, flipped), oracle.flip(a, 3, flipped)
    found = nettack.link_logits(surrogate, local)
    for v in set(range(14)) - {3}:
      np.testing.assert_allclose(found[v], oracle.logits(oracle.flip(a, 3, v), x, w, 3), atol=1e-12)
    np.testing.assert_allclose(nettack._logits(surrogate, local), oracle.logits(a, x, w, 3), atol=1e-12)


def test_the_margin_of_a_path():
  arrays = {
    "edges": np.array([[0, 1], [1, 2]]),
    "features": np.eye(3, dtype=np.float32),
    "labels": np.array([0, 1, 1]),
    "train_mask": np.array([0]),
    "val_mask": np.array([1]),
  }
  path = graph_from_arrays(arrays, name="path", sha256="")
  surrogate = nettack.prepare(path, np.array([[1, 0], [0, 1], [0, 1]]))
  np.testing.assert_allclose(nettack.surrogate_margin(surrogate, 0, 0), -0.090207, atol=1e-6)


def test_the_sign_of_the_log_likelihood():
  before, after = [2, 3, 3, 5, 8], [2, 3, 4, 5, 9]
  summed = [(float(len(d)), float(np.log(d).sum())) for d in (before, after)]
  for slip in (False, True):
    found = nettack.degree_ratio(*map(np.array, summed[1]), summed[0], released_sign=slip)
    np.testing.assert_allclose(found, oracle.degree_ratio(before, after, slip), atol=1e-12)
  assert nettack.degree_ratio(*map(np.array, summed[0]), summed[0]) == pytest.approx(0, abs=1e-12)


def test_no_node_loses_its_last_link_and_the_clean_graph_stays():
  graph, w = make_graph(1)
  surrogate = nettack.prepare(graph, w)
  edges, degree = graph.edges.copy(), np.bincount(graph.edges.ravel(), minlength=14)
  for target in range(14):
    flips = nettack.nettack(surrogate, target, 0, n_links=6, n_words=4, degree_threshold=np.inf)
    assert len(set(flips.links.tolist())) == len(flips.links) == 6
    after = apply_flips(graph, flips)
    a = links_matrix(after)
    assert (a != a.T).nnz == 0
    new = np.bincount(after.edges.ravel(), minlength=14)
    assert not ((degree > 0) & (new == 0)).any()
    assert abs(after.features - graph.features).sum() == 4
  assert (graph.edges == edges).all()


def test_accumulating_attacks_start_where_the_last_one_ended():
  graph, w = make_graph(2)
  targets, labels = np.array([4, 9]), np.array([1, 2])
  found = nettack.accumulate(graph, w, targets, labels, n_links=2, n_words=3)
  step = functools.partial(nettack.nettack, n_links=2, n_words=3)
  first = apply_flips(graph, step(nettack.prepare(graph, w), 4, 1))
  second = apply_flips(first, step(nettack.prepare(first, w), 9, 2))
  assert (found.edges == second.edges).all()
  assert (found.features != second.features).nnz == 0


def test_a_target_without_links_gains_some():
  graph, w = make_graph(0)
  target = int(graph.edges[0, 0])
  alone = flip_links(graph, graph.edges[(graph.edges == target).any(axis=1)])
  flips = nettack.nettack(nettack.prepare(alone, w), target, 0, n_links=2, degree_threshold=np.inf)
  assert len(flips.links) == 2


def test_what_cannot_be_attacked_is_refused_by_name():
  graph, w = make_graph(0)
  with pytest.raises(ValueError, match="edge_weight"):
    nettack.prepare(graph._replace(edge_weight=np.full(len(graph.edges), 2.0)), w)
  half = graph._replace(features=sp.csr_matrix(graph.features * 0.5))
  with pytest.raises(ValueError, match="not 0 or 1"):
    nettack.prepare(half, w)
  links_only = nettack.prepare(half, w, features=False)
  with pytest.raises(ValueError, match="features=True"):
    nettack.nettack(links_only, 0, 0, n_words=1)
  with pytest.raises(ValueError, match="predicted one"):
    nettack.nettack(links_only, 0, -1, n_links=1)
  with pytest.raises(ValueError, match="target 14 is no node"):
    nettack.nettack(links_only, 14, 0, n_links=1)
  with pytest.raises(ValueError, match="need \\[10, classes\\]"):
    nettack.prepare(graph, w.T)


@pytest.mark.skipif("VITA_DATA_DIR" not in os.environ, reason="Cora is in VITA_DATA_DIR")
def test_flips_of_fifty_nodes_of_cora_are_those_of_deeprobust():
  graph = load_graph("cora")
  with np.load(FIXTURES / "nettack.npz") as file:
    weight, targets, links = file["weight"], file["targets"], file["links"]
  surrogate = nettack.prepare(graph, weight, features=False)
  for target, rows in zip(targets.tolist(), links, strict=True):
    for budget, row in enumerate(rows, start=1):
      found = nettack.nettack(surrogate, target, int(graph.labels[target]), n_links=budget)
      assert sorted(found.links.tolist()) == row[row >= 0].tolist(), (target, budget)


@pytest.mark.parity
@pytest.mark.skipif("VITA_DATA_DIR" not in os.environ, reason="Cora is in VITA_DATA_DIR")
def test_the_fixture_is_what_deeprobust_gives():
  pytest.importorskip("deeprobust")
  command = [sys.executable, FIXTURES / "make_nettack.py", "--check"]
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.skipif("VITA_DATA_DIR" not in os.environ, reason="Cora is in VITA_DATA_DIR")
def test_flips_of_fifty_nodes_of_cora_are_the_best_by_a_sparse_recomputation():
  graph = load_graph("cora")
  weight = train_surrogate(graph)
  surrogate, a = nettack.prepare(graph, weight), links_matrix(graph)
  random, xw = np.random.default_rng(0), graph.features.astype(float) @ weight
  degree = np.asarray(a.sum(axis=1)).ravel()

  def margin(u, v, label):
    new = a.tolil()
    new[u, v] = new[v, u] = 1 - a[u, v]
    with_self = new.tocsr() + sp.identity(len(degree))
    s = sp.diags(np.asarray(with_self.sum(axis=1)).ravel() ** -0.5)
    normal = (s @ with_self @ s).tocsr()
    return oracle.margin(np.asarray(normal[u] @ normal @ xw).ravel(), label)

  for u in random.choice(np.flatnonzero(graph.test_mask), 50, replace=False).tolist():
    label = int(graph.labels[u])
    found = nettack.nettack(surrogate, u, label, n_links=1, degree_threshold=np.inf).links
    best = margin(u, found[0], label)
    logits = nettack.link_logits(surrogate, nettack._start(surrogate, u))
    for v in np.setdiff1d(random.choice(len(degree), 30), [u]):
      here = margin(u, v, label)
      assert oracle.margin(logits[v], label) == pytest.approx(here, abs=1e-9)
      last = a[u, v] and (degree[u] == 1 or degree[v] == 1)
      assert last or best <= here + 1e-9
