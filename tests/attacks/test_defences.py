"""Defences: their closed forms, the same on the host and in a program, and attacks that see through them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from attacks.test_nettack import make_graph
from laws.small_graph import write_small_graph
from scipy.sparse.linalg import eigsh

from vita_jax import attacks
from vita_jax.attacks import defences, space
from vita_jax.attacks.defences import Defence
from vita_jax.data import load_graph
from vita_jax.data.graphs import load_graph_npz
from vita_jax.nn import sparse
from vita_jax.nn.graph import adjacency, adjacency_of, propagate


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
  return load_graph_npz(write_small_graph(tmp_path_factory.mktemp("graph") / "graph.npz"))


def _alike(graph):
  return functools.partial(defences.similarity, (graph.features != 0).toarray())


def test_similarity_by_hand_in_a_table_and_of_a_changed_node():
  graph, _ = make_graph(1)
  present = (graph.features != 0).toarray()
  u, v = (x.ravel() for x in np.meshgrid(np.arange(14), np.arange(14)))
  found = np.asarray(defences.similarity(present, u, v)).reshape(14, 14)
  for i, j in ((0, 1), (3, 9), (5, 5)):
    both, either = (present[i] & present[j]).sum(), (present[i] | present[j]).sum()
    assert found[j, i] == pytest.approx(both / max(either, 1), abs=1e-6)
  table = defences.similarity_table(graph.features)
  np.testing.assert_allclose(table, found, atol=1e-6)
  changed = attacks.flip_words(graph, [3, 3], [0, 7])
  row = space.RowChange(jnp.int32(3), jnp.asarray(changed.features[3].toarray().ravel()))
  looked = defences.looked_up(table, sparse.from_scipy(graph.features), row, u, v)
  differs = u != v
  expected = np.asarray(defences.similarity((changed.features != 0).toarray(), u, v))
  np.testing.assert_allclose(np.asarray(looked)[differs], expected[differs], atol=1e-6)


@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.25])
def test_unlike_links_carry_nothing_on_the_host_and_in_a_program(graph, threshold):
  pruned = defences.without_unlike_links(graph, threshold=threshold)
  assert (threshold > 0) == (len(pruned.edges) < len(graph.edges))
  clean = space.network_graph(graph)
  inside = adjacency_of(defences.jaccard(clean, _alike(graph), threshold=threshold), 120)
  outside = adjacency(pruned.edges, pruned.self_loops, 120)
  h = jnp.asarray(np.random.default_rng(0).normal(size=(120, 3)), jnp.float32)
  for name in ("gcn", "gcn_no_self", "mean"):
    found, expected = (propagate(a, h, getattr(a, name)) for a in (inside, outside))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_graph_of_strangers_is_refused(graph):
  with pytest.raises(ValueError, match="no link of graph 'graph' joins nodes that share 1"):
    defences.without_unlike_links(graph, threshold=1.0)


def test_full_rank_is_the_graph_itself(graph):
  full = defences.low_rank_of(graph, rank=120)
  plain = adjacency(graph.edges, graph.self_loops, 120)
  h = jnp.asarray(np.random.default_rng(0).normal(size=(120, 3)), jnp.float32)
  for name in ("gcn", "gcn_no_self"):
    found, expected = (propagate(a, h, getattr(a, name)) for a in (full, plain))
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_low_rank_is_the_nearest_matrix_of_that_rank_normalised(graph):
  a = np.asarray(attacks.graph_edits.links_matrix(graph).todense())
  values, vectors = np.linalg.eigh(a)
  top = np.argsort(-np.abs(values))[:3]
  near = vectors[:, top] * values[top] @ vectors[:, top].T
  weight = defences.low_rank_of(graph, rank=3).gcn
  np.testing.assert_allclose(weight.basis @ weight.core @ weight.basis.T, near, atol=2e-3)
  degree = 1 + np.maximum(near.sum(1), 0)
  expected = (near + np.eye(120)) / np.sqrt(degree[:, None] * degree)
  found = propagate(defences.low_rank_of(graph, rank=3), jnp.eye(120), weight)
  np.testing.assert_allclose(found, expected, atol=2e-3)
  no_self = defences.low_rank_of(graph, rank=3).gcn_no_self
  spread = propagate(defences.low_rank_of(graph, rank=3), jnp.eye(120), no_self)
  np.testing.assert_allclose(np.diag(spread), 0, atol=1e-5)


def test_from_the_clean_graph_fewer_iterations_find_what_is_left_of_an_attacked_one():
  graph = load_graph("citeseer")
  n, rank = len(graph.labels), 10
  known = defences.known_of(graph, defences.Defence("low_rank", rank=rank))
  pairs = jnp.array([[3, other] for other in (50, 77, 901, 1500, 3000)], jnp.int32)
  attacked = space.perturbed(space.link_space(graph), pairs, jnp.ones(5))
  places = np.asarray(attacked.receivers), np.asarray(attacked.senders)
  a = sp.csr_matrix((np.asarray(attacked.edges["weight"], np.float64), places), shape=(n, n))
  values, vectors = eigsh(a, k=rank, which="LM")
  best = vectors * values @ vectors.T

  def error(near):
    found = jax.jit(functools.partial(defences.low_rank, n_nodes=n, rank=rank))(attacked, near=near).gcn
    ours = np.asarray(found.basis @ found.core @ found.basis.T)
    return np.linalg.norm(ours - best) / np.linalg.norm(best)

  assert error(known.near) < min(1e-3, error(None))


@pytest.mark.parametrize("rank", [0, 121])
def test_ranks_that_cannot_be_are_refused(graph, rank):
  with pytest.raises(ValueError, match="between 1 and the 120 nodes"):
    defences.low_rank_of(graph, rank=rank)


@pytest.mark.parametrize("name", ["jaccard", "low_rank"])
def test_an_attack_with_gradients_sees_through_the_defence(graph, name):
  w = jnp.asarray(attacks.train_surrogate(graph, epochs=40), jnp.float32)
  xw = jnp.asarray(graph.features @ np.asarray(w))
  defence, alike = Defence(name, threshold=0.15, rank=6), _alike(graph)

  def logits(g):
    read = defences.defended(g, alike, 120, defence)
    matrices = read if name == "low_rank" else adjacency_of(read, 120)
    return propagate(matrices, propagate(matrices, xw, matrices.gcn), matrices.gcn)

  links, target = space.link_space(graph), int(np.flatnonzero(graph.test_mask)[0])
  label = int(graph.labels[target])
  others = np.delete(np.arange(120), target)
  pairs = jnp.asarray(np.sort(np.stack([np.full(119, target), others], 1), axis=1), jnp.int32)

  def loss(amount):
    return space.attack_loss(
      logits(space.perturbed(links, pairs, amount)), jnp.array([target]), jnp.array([label])
    )

  gradient = np.asarray(jax.jit(jax.grad(loss))(jnp.full(119, 1e-3)))
  assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
  if name == "jaccard":  # a link that would be dropped is of no use
    shares = np.asarray(alike(np.full(119, target), others))
    assert not gradient[shares < 0.15].any()
  best = int(gradient.argmax())
  flipped = jnp.zeros(119).at[best].set(1.0)
  assert loss(flipped) > loss(jnp.zeros(119))
