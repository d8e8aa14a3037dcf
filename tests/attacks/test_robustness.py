"""Rows, groups and the cache: what a network's robustness is read from."""

import jax.numpy as jnp
import numpy as np
import pytest
from attacks.test_nettack import make_graph

from vita_jax.attacks import cached, graph_edits, nettack, robustness
from vita_jax.nn.graph import adjacency_of, propagate


def _network(w):
  def logits(g):
    x = jnp.asarray(g.nodes["features"])
    matrices = adjacency_of(g, x.shape[0])
    return propagate(matrices, propagate(matrices, x @ w, matrices.gcn), matrices.gcn)

  return logits


def test_rows_are_what_the_network_says_of_each_perturbed_graph():
  graph, w = make_graph(4)
  logits, surrogate = _network(jnp.asarray(w, jnp.float32)), nettack.prepare(graph, w)
  targets = [2, 5, 11]
  flips = [nettack.nettack(surrogate, u, int(graph.labels[u]), n_links=2, n_words=2) for u in targets]
  rows = robustness.judge(logits, graph, flips, graph.labels[targets])
  for row, flip in zip(rows, flips, strict=True):
    after = graph_edits.apply_flips(graph, flip)
    # The surrogate and the network are the same function here, so the signs of their margins agree.
    margin = nettack.surrogate_margin(nettack.prepare(after, w), flip.target, row["label"])
    assert row["robust"] == (margin > 0)
    assert (row["links"], row["words"], row["disconnected"]) == (len(flip.links), 2, 0)
  assert any(row["clean_margin"] > row["margin"] for row in rows)
  assert (robustness.predicted(logits, graph)[targets] == [r["label"] for r in rows]).tolist() == [
    bool(r["clean"]) for r in rows
  ]


def test_a_node_that_loses_its_last_link_is_counted():
  graph, w = make_graph(4)
  degree = np.bincount(graph.edges.ravel(), minlength=14)
  u, v = next(e for e in graph.edges.tolist() if 1 in degree[e] and degree[e].max() > 1)
  flip = graph_edits.Flips(u, np.array([v], np.int32), np.zeros(0, np.int32))
  rows = robustness.judge(_network(jnp.asarray(w, jnp.float32)), graph, [flip], graph.labels[[u]])
  assert rows[0]["disconnected"] == 1


def test_groups_partition_the_targets():
  random = np.random.default_rng(0)
  rows = [
    {"degree": int(d), "clean_margin": float(m), "clean": int(m > 0), "robust": int(r)}
    for d, m, r in zip(
      random.integers(0, 12, 40), random.normal(size=40), random.integers(0, 2, 40), strict=True
    )
  ]
  found = robustness.robust_accuracy(rows)
  assert found["all"] == pytest.approx(np.mean([r["robust"] for r in rows]))
  assert found["degree 6+"] == pytest.approx(np.mean([r["robust"] for r in rows if r["degree"] >= 6]))
  wrong = [r["robust"] for r in rows if not r["clean"]]
  assert found["wrong"] == pytest.approx(np.mean(wrong))


def test_flips_are_made_once(tmp_path, monkeypatch):
  graph, w = make_graph(5)
  ask = dict(n_links=2, n_words=3, cache_dir=tmp_path)
  targets, labels = np.array([1, 6]), np.array([0, 2])
  first = cached.nettack_flips(graph, w, targets, labels, **ask)
  whole = cached.accumulated(graph, w, targets, labels, **ask)
  expected = nettack.accumulate(graph, w, targets, labels, n_links=2, n_words=3)
  assert graph_edits.graph_digest(whole) == graph_edits.graph_digest(expected)
  monkeypatch.setattr(cached, "nettack", None)
  monkeypatch.setattr(cached, "accumulate", None)
  again = cached.nettack_flips(graph, w, targets, labels, **ask)
  for one, other in zip(first, again, strict=True):
    assert (
      one.target == other.target and (one.links == other.links).all() and (one.words == other.words).all()
    )
  cached.accumulated(graph, w, targets, labels, **ask)
  with pytest.raises(TypeError):  # another budget is made anew
    cached.nettack_flips(graph, w, targets, labels, **{**ask, "n_links": 1})
