"""Adjacency matrices and propagation: closed forms, scipy, dense autodiff, padding, jraph's graphs."""

import os

import jax
import jax.numpy as jnp
import jraph
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse import csgraph

from vita_jax.data.graphs import load_graph
from vita_jax.nn import graph as graphs

PATH = np.array([[0, 1], [1, 2]])
WEIGHTS = ("gcn", "gcn_no_self", "mean", "own")


def build(edges, n, loops=(), **options):
  return graphs.adjacency(edges, np.array(loops, np.int32), n, **options)


def n_nodes(graph):
  return len(graph.row_starts) - 1


def random_graph(n=40, n_edges=90, seed=0):
  rng = np.random.default_rng(seed)
  pairs = np.stack(np.triu_indices(n - 2, 1), 1)  # the last two nodes stay isolated
  return pairs[rng.permutation(len(pairs))[:n_edges]], rng


def dense(graph, name):
  n = n_nodes(graph)
  a = np.zeros((n, n))
  np.add.at(a, (graph.receivers, graph.senders), getattr(graph, name))
  return a


def real_graph(name):
  if name != "citeseer" and "VITA_DATA_DIR" not in os.environ:
    pytest.skip(f"{name} is read from $VITA_DATA_DIR, which is not set")
  return load_graph(name)


def test_path_graph_closed_form():
  graph, r = build(PATH, 3), 1 / np.sqrt(6)
  np.testing.assert_allclose(dense(graph, "gcn"), [[1 / 2, r, 0], [r, 1 / 3, r], [0, r, 1 / 2]], atol=1e-7)
  s = 1 / np.sqrt(2)
  np.testing.assert_allclose(dense(graph, "gcn_no_self"), [[0, s, 0], [s, 0, s], [0, s, 0]], atol=1e-7)
  np.testing.assert_allclose(dense(graph, "mean"), [[0, 1, 0], [0.5, 0, 0.5], [0, 1, 0]], atol=1e-7)
  np.testing.assert_allclose(dense(graph, "own"), np.eye(3))


def test_raw_self_loop_counts_twice():
  # Node 0 has a raw loop: diagonal of A + I is (2, 1), its row sums are (3, 2).
  graph, r = build(PATH[:1], 2, loops=[0]), 1 / np.sqrt(6)
  np.testing.assert_allclose(dense(graph, "gcn"), [[2 / 3, r], [r, 1 / 2]], atol=1e-7)
  np.testing.assert_allclose(dense(graph, "gcn_no_self"), [[0, 1], [1, 0]], atol=1e-7)
  assert graph.own.sum() == 2 and len(graph.senders) == 4


@pytest.mark.parametrize("loops", ([], [2]))
def test_isolated_node(loops):
  graph = build(PATH[:1], 3, loops=loops)
  assert dense(graph, "gcn")[2, 2] == 1
  for name in ("gcn_no_self", "mean"):
    assert not dense(graph, name)[2].any()
  for name in WEIGHTS:
    assert np.isfinite(getattr(graph, name)).all() and getattr(graph, name).dtype == np.float32


def test_normalisation_equals_scipy_laplacian():
  edges, _ = random_graph()
  a = np.zeros((40, 40))
  a[edges[:, 0], edges[:, 1]] = a[edges[:, 1], edges[:, 0]] = 1
  connected = a.sum(1) > 0
  want = np.diag(connected * 1.0) - csgraph.laplacian(a, normed=True)
  np.testing.assert_allclose(dense(build(edges, 40), "gcn_no_self"), want, atol=1e-7)


def test_eigenvalues():
  edges, _ = random_graph()
  values = np.linalg.eigvalsh(dense(build(edges, 40), "gcn"))
  assert values[0] > -1 + 1e-3 and abs(values[-1] - 1) < 1e-6


def test_structure():
  edges, _ = random_graph()
  graph = build(edges[::-1], 40)  # the order of the input does not matter
  assert len(graph.senders) == 2 * len(edges) + 40
  keys = graph.receivers.astype(np.int64) * 40 + graph.senders
  assert (np.diff(keys) > 0).all()
  reverse = graph.reverse
  np.testing.assert_array_equal(graph.senders[reverse], graph.receivers)
  np.testing.assert_array_equal(graph.receivers[reverse], graph.senders)
  first = graph.row_starts
  np.testing.assert_array_equal(np.repeat(np.arange(40), np.diff(first)), graph.receivers)
  for array in (graph.senders, graph.receivers, reverse, first):
    assert array.dtype == np.int32


@pytest.mark.parametrize("name", ("citeseer", "cora"))
def test_real_graph_against_scipy(name):
  data = real_graph(name)
  n = len(data.labels)
  graph = graphs.adjacency(data.edges, data.self_loops, n)
  assert len(graph.senders) == {"citeseer": 12431, "cora": 13264}[name]
  u, v = data.edges.T
  a = sp.coo_matrix((np.ones(len(u)), (u, v)), (n, n))
  a0 = (a + a.T).tocsr()
  loops = np.zeros(n)
  loops[data.self_loops] = 1
  tilde = a0 + sp.diags(loops) + sp.eye(n)

  def normalised(a):
    degree = np.asarray(a.sum(1)).ravel()
    d = sp.diags(np.where(degree > 0, np.maximum(degree, 1) ** -0.5, 0))
    return d @ a @ d

  h = np.random.default_rng(0).normal(size=(n, 16)).astype(np.float32)
  for weight, matrix in (("gcn", normalised(tilde)), ("gcn_no_self", normalised(a0))):
    weight = getattr(graph, weight)
    y = jax.jit(graphs.propagate)(graph, h, weight)
    np.testing.assert_allclose(y, matrix @ h, atol=2e-6)
    np.testing.assert_allclose(graphs.propagate_host(graph, h, weight), y, atol=1e-6)
    np.testing.assert_allclose(graphs.propagate_host(graph, sp.csr_matrix(h), weight), y, atol=1e-6)


def test_gradients_equal_dense():
  edges, rng = random_graph()
  graph = build(edges, 40)
  h = rng.normal(size=(40, 5)).astype(np.float32)
  weight = rng.normal(size=len(graph.senders)).astype(np.float32)  # not symmetric

  def sparse_loss(h, w):
    return jnp.sum(jnp.sin(graphs.propagate(graph, h, w)))

  def dense_loss(h, w):
    a = jnp.zeros((40, 40)).at[graph.receivers, graph.senders].set(w)
    return jnp.sum(jnp.sin(a @ h))

  both = (0, 1)
  for got, want in zip(
    jax.jit(jax.grad(sparse_loss, both))(h, weight), jax.grad(dense_loss, both)(h, weight), strict=True
  ):
    np.testing.assert_allclose(got, want, atol=2e-5)
  hs, ws = np.stack([h, 2 * h, -h]), np.stack([weight, weight + 1, -2 * weight])
  for axes, args in (((0, None), (hs, weight)), ((None, 0), (h, ws)), ((0, 0), (hs, ws))):

    def inside(loss, axes=axes):
      return jax.vmap(jax.grad(loss, both), axes)

    def outside(loss, axes=axes):
      return jax.grad(lambda h, w: jax.vmap(loss, axes)(h, w).sum(), both)

    for way in (inside, outside):
      for got, want in zip(way(sparse_loss)(*args), way(dense_loss)(*args), strict=True):
        np.testing.assert_allclose(got, want, atol=5e-5)


def plain(edges, n, loops=(), **options):
  return graphs.undirected_graph(edges, np.array(loops, np.int32), {"id": np.arange(n)}, **options)


def as_dense(matrices, weight, n):
  return np.asarray(jnp.zeros((n, n)).at[matrices.receivers, matrices.senders].add(weight))


@pytest.mark.parametrize("weighted", [False, True])
def test_a_jraph_graph_has_the_same_matrices(weighted):
  edges, rng = random_graph()
  options = {}
  if weighted:
    options = {"edge_weight": rng.uniform(0.2, 3, len(edges)), "loop_weight": np.array([0.5, 2.0])}
  host = build(edges, 40, loops=[3, 39], **options)
  graph = plain(edges, 40, loops=[3, 39], **options)
  shuffle = rng.permutation(len(graph.senders))
  shuffled = graph._replace(
    senders=graph.senders[shuffle],
    receivers=graph.receivers[shuffle],
    edges=jax.tree.map(lambda x: x[shuffle], graph.edges),
  )
  ones = np.ones(len(host.senders))
  for one in (graph, shuffled):
    found = jax.jit(graphs.adjacency_of, static_argnums=1)(one, 40)
    for name in (*WEIGHTS, "attention"):
      want = as_dense(host, ones if getattr(host, name) is None else getattr(host, name), 40)
      np.testing.assert_allclose(as_dense(found, getattr(found, name), 40), want, atol=1e-6, err_msg=name)
  h = rng.normal(size=(40, 3)).astype(np.float32)
  np.testing.assert_allclose(
    graphs.propagate(found, h, found.gcn), graphs.propagate(host, h, host.gcn), atol=1e-6
  )


def test_weights_by_hand():
  # Path 0 -2- 1 -8- 2: rows of A + I sum to 3, 11, 9; without I to 2, 10, 8.
  graph = build(PATH, 3, edge_weight=[2.0, 8.0])
  root = np.sqrt
  np.testing.assert_allclose(
    dense(graph, "gcn"),
    [[1 / 3, 2 / root(33), 0], [2 / root(33), 1 / 11, 8 / root(99)], [0, 8 / root(99), 1 / 9]],
    rtol=1e-6,
  )
  np.testing.assert_allclose(dense(graph, "mean"), [[0, 1, 0], [0.2, 0, 0.8], [0, 1, 0]], rtol=1e-6)
  np.testing.assert_allclose(dense(graph, "gcn_no_self")[0, 1], 2 / root(20), rtol=1e-6)
  np.testing.assert_allclose(dense(graph, "attention"), [[1, 2, 0], [2, 1, 8], [0, 8, 1]])


@pytest.mark.parametrize(
  "edges",
  [
    np.array([2.0, 8.0, 2.0, 8.0], np.float32),
    np.array([[2.0], [8.0], [2.0], [8.0]], np.float32),
    {"weight": np.array([2.0, 8.0, 2.0, 8.0], np.float32), "kind": np.arange(4)},
  ],
)
def test_where_a_jraph_graph_has_its_weights(edges):
  graph = plain(PATH, 3)._replace(edges=edges)
  found = graphs.adjacency_of(graph, 3)
  np.testing.assert_allclose(
    as_dense(found, found.gcn, 3), dense(build(PATH, 3, edge_weight=[2, 8]), "gcn"), rtol=1e-6
  )


@pytest.mark.parametrize("edges", [None, np.ones((4, 5)), {"kind": np.arange(4)}, ()])
def test_other_edge_features_are_no_weights(edges):
  found = graphs.adjacency_of(plain(PATH, 3)._replace(edges=edges), 3)
  np.testing.assert_allclose(as_dense(found, found.gcn, 3), dense(build(PATH, 3), "gcn"), rtol=1e-6)


def test_gradients_reach_the_weights_of_a_jraph_graph():
  edges, rng = random_graph(12, 20)
  graph, h = plain(edges, 12), rng.normal(size=(12, 3)).astype(np.float32)
  weight = rng.uniform(0.5, 2, 40).astype(np.float32)

  def loss(weight):
    found = graphs.adjacency_of(graph._replace(edges=weight), 12)
    return jnp.sum(jnp.sin(graphs.propagate(found, h, found.gcn)))

  def want(weight):
    a = jnp.zeros((12, 12)).at[graph.receivers, graph.senders].add(weight) + jnp.eye(12)
    d = a.sum(1) ** -0.5
    return jnp.sum(jnp.sin(d[:, None] * a * d @ h))

  np.testing.assert_allclose(jax.grad(loss)(weight), jax.grad(want)(weight), atol=1e-5)


def test_directed_edges_of_a_jraph_graph_run_from_sender_to_receiver():
  graph = jraph.GraphsTuple(
    nodes=None,
    edges=None,
    senders=np.array([0, 2]),
    receivers=np.array([1, 1]),
    globals=None,
    n_node=np.array([3]),
    n_edge=np.array([2]),
  )
  found = graphs.adjacency_of(graph, 3)
  np.testing.assert_allclose(as_dense(found, found.mean, 3), [[0, 0, 0], [0.5, 0, 0.5], [0, 0, 0]])


def test_the_host_matrices_cannot_be_batched():
  matrices = build(PATH, 3)
  for call in (lambda: jraph.batch_np([matrices, matrices]), lambda: jraph.pad_with_graphs(matrices, 9, 20)):
    with pytest.raises(AttributeError):
      call()
  with pytest.raises(ValueError, match="the graph has 3 nodes and the features have 6 rows"):
    graphs.check_rows(matrices, 6)
  with pytest.raises(ValueError, match="the graph has 3 nodes and the features have 2 rows"):
    graphs.adjacency_of(plain(PATH, 3), 2)


@pytest.mark.parametrize("multiple", (7, 44))
def test_padding_changes_nothing(multiple):
  edges, rng = random_graph()
  graph, padded = build(edges, 40), build(edges, 40, pad_multiple=multiple)
  n = n_nodes(padded)
  assert n % multiple == 0 and n > 40 and len(padded.senders) % multiple == 0
  e = len(graph.senders)
  assert (padded.receivers[e:] == 40).all() and (padded.senders[e:] == 40).all()
  assert (np.diff(padded.receivers) >= 0).all() and padded.row_starts[-1] == len(padded.senders)
  h = rng.normal(size=(40, 3)).astype(np.float32)
  bigger = np.concatenate([h, np.full((n - 40, 3), 9, np.float32)])

  @jax.jit
  def run(graph, h, weight):
    return jax.value_and_grad(lambda h: jnp.sum(graphs.propagate(graph, h, weight)[:40] ** 2))(h)

  for name in WEIGHTS:
    assert not getattr(padded, name)[e:].any()
    y, g = run(graph, h, getattr(graph, name))
    y_padded, g_padded = run(padded, bigger, getattr(padded, name))
    np.testing.assert_allclose(y, y_padded, rtol=1e-6)
    np.testing.assert_allclose(g, g_padded[:40], atol=1e-6)
    assert not np.asarray(g_padded[40:]).any()


def test_edge_softmax():
  edges, rng = random_graph()
  graph = build(edges, 40)
  logits = (50 * rng.normal(size=(len(graph.senders), 2))).astype(np.float32)
  a = np.asarray(graphs.edge_softmax(graph, logits, n_nodes=40))
  for i in range(40):
    mine = graph.receivers == i
    e = np.exp(logits[mine] - logits[mine].max(0))
    np.testing.assert_allclose(a[mine], e / e.sum(0), rtol=1e-5, atol=1e-7)
  masked = np.asarray(graphs.edge_softmax(graph, logits, n_nodes=40, weight=1 - graph.own))
  assert not masked[graph.own == 1].any()
  assert not masked[graph.receivers == 39].any()  # isolated: no edge left, zeros
  sums = np.bincount(graph.receivers, masked[:, 0])
  np.testing.assert_allclose(sums[:38][np.bincount(edges.ravel(), minlength=38) > 0], 1, rtol=1e-5)
  twice = np.asarray(graphs.edge_softmax(graph, logits, n_nodes=40, weight=np.full(len(logits), 2.0)))
  np.testing.assert_allclose(twice, a, atol=1e-6)  # what counts is how weights compare
  g = jax.grad(lambda x: jnp.sum(graphs.edge_softmax(graph, x, n_nodes=40, weight=1 - graph.own) ** 2))(
    logits
  )
  assert np.isfinite(g).all()


@pytest.mark.parametrize(
  "edges, loops, message",
  (
    ([[1, 0]], [], "u < v"),
    ([[1, 1]], [], "u < v"),
    ([[0, 1], [0, 1]], [], "unique"),
    ([[0, 3]], [], "node 3"),
    ([[-1, 2]], [], "node -1"),
    ([[0, 1, 2]], [], r"\[E, 2\]"),
    ([[0, 1]], [3], "node 3"),
    ([[0, 1]], [0, 0], "distinct"),
  ),
)
def test_refuses_bad_edges(edges, loops, message):
  with pytest.raises(ValueError, match=message):
    build(np.array(edges), 3, loops=loops)


def test_refuses_bad_nodes_weights_and_padding():
  with pytest.raises(ValueError, match="common length"):
    graphs.undirected_graph(PATH, [], {"a": np.ones(3), "b": np.ones(4)})
  with pytest.raises(ValueError, match="pad_multiple"):
    build(PATH, 3, pad_multiple=0)
  for weight in ([1.0], [1.0, -1.0], [1.0, np.inf], [0.0, 1.0]):
    with pytest.raises(ValueError, match="edge_weight must be 2 finite numbers above 0"):
      build(PATH, 3, edge_weight=weight)


def test_graph_without_edges():
  graph = build(np.zeros((0, 2), np.int32), 2)
  np.testing.assert_allclose(graphs.propagate(graph, jnp.ones((2, 1)), graph.gcn), np.ones((2, 1)))
