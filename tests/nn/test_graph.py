"""Host graphs and propagation: closed forms, scipy, dense autodiff, padding, real graphs."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse import csgraph

from vita_jax.data.graphs import load_graph
from vita_jax.nn import graph as graphs

PATH = np.array([[0, 1], [1, 2]])
WEIGHTS = ("gcn", "gcn_no_self", "mean", "self")


def build(edges, n, loops=(), **options):
  nodes = {"id": np.arange(n, dtype=np.int32), "mask": np.ones(n, bool)}
  return graphs.undirected_graph(edges, np.array(loops, np.int32), nodes, **options)


def random_graph(n=40, n_edges=90, seed=0):
  rng = np.random.default_rng(seed)
  pairs = np.stack(np.triu_indices(n - 2, 1), 1)  # the last two nodes stay isolated
  return pairs[rng.permutation(len(pairs))[:n_edges]], rng


def dense(graph, name):
  n = graphs.n_nodes(graph)
  a = np.zeros((n, n))
  np.add.at(a, (graph.receivers, graph.senders), graph.edges[name])
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
  np.testing.assert_allclose(dense(graph, "self"), np.eye(3))


def test_raw_self_loop_counts_twice():
  # Node 0 has a raw loop: diagonal of A + I is (2, 1), its row sums are (3, 2).
  graph, r = build(PATH[:1], 2, loops=[0]), 1 / np.sqrt(6)
  np.testing.assert_allclose(dense(graph, "gcn"), [[2 / 3, r], [r, 1 / 2]], atol=1e-7)
  np.testing.assert_allclose(dense(graph, "gcn_no_self"), [[0, 1], [1, 0]], atol=1e-7)
  assert graph.edges["self"].sum() == 2 and len(graph.senders) == 4


@pytest.mark.parametrize("loops", ([], [2]))
def test_isolated_node(loops):
  graph = build(PATH[:1], 3, loops=loops)
  assert dense(graph, "gcn")[2, 2] == 1
  for name in ("gcn_no_self", "mean"):
    assert not dense(graph, name)[2].any()
  for name in WEIGHTS:
    assert np.isfinite(graph.edges[name]).all() and graph.edges[name].dtype == np.float32


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
  assert len(graph.senders) == 2 * len(edges) + 40 == graph.n_edge[0]
  keys = graph.receivers.astype(np.int64) * 40 + graph.senders
  assert (np.diff(keys) > 0).all()
  reverse = graph.edges["reverse"]
  np.testing.assert_array_equal(graph.senders[reverse], graph.receivers)
  np.testing.assert_array_equal(graph.receivers[reverse], graph.senders)
  first = graph.nodes["first_edge"]
  np.testing.assert_array_equal(np.repeat(np.arange(40), np.diff([*first, len(keys)])), graph.receivers)
  for array in (graph.senders, graph.receivers, reverse, first):
    assert array.dtype == np.int32


@pytest.mark.parametrize("name", ("citeseer", "cora"))
def test_real_graph_against_scipy(name):
  data = real_graph(name)
  n = len(data.labels)
  graph = graphs.undirected_graph(data.edges, data.self_loops, {"labels": data.labels})
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
    y = jax.jit(graphs.propagate)(graph, h, graph.edges[weight])
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


def test_graph_without_row_starts():
  # A graph made inside a trace has no "first_edge": same numbers by segment sums.
  edges, rng = random_graph()
  graph = build(edges, 40)
  bare = graph._replace(nodes={"id": graph.nodes["id"]})
  h = rng.normal(size=(40, 3)).astype(np.float32)
  np.testing.assert_allclose(
    graphs.propagate(bare, h, graph.edges["gcn"]), graphs.propagate(graph, h, graph.edges["gcn"]), atol=1e-6
  )


@pytest.mark.parametrize("multiple", (7, 44, 64))
def test_padding_changes_nothing(multiple):
  edges, rng = random_graph()
  graph, padded = build(edges, 40), build(edges, 40, pad_multiple=multiple)
  n = graphs.n_nodes(padded)
  assert n % multiple == 0 and n > 40 and len(padded.senders) % multiple == 0
  assert list(padded.n_node) == [40, n - 40]
  assert not padded.nodes["mask"][40:].any() and padded.nodes["mask"][:40].all()
  e = len(graph.senders)
  assert (padded.receivers[e:] == 40).all() and (padded.senders[e:] == 40).all()
  assert (np.diff(padded.receivers) >= 0).all()
  h = rng.normal(size=(40, 3)).astype(np.float32)
  bigger = np.concatenate([h, np.full((n - 40, 3), 9, np.float32)])
  for name in WEIGHTS:
    assert not padded.edges[name][e:].any()

    def run(graph, h, name=name):
      return jax.value_and_grad(lambda h: jnp.sum(graphs.propagate(graph, h, graph.edges[name])[:40] ** 2))(h)

    y, g = run(graph, h)
    y_padded, g_padded = run(padded, bigger)
    np.testing.assert_allclose(y, y_padded, rtol=1e-6)
    np.testing.assert_allclose(g, g_padded[:40], atol=1e-6)
    assert not np.asarray(g_padded[40:]).any()


def test_edge_softmax():
  edges, rng = random_graph()
  graph = build(edges, 40)
  logits = (50 * rng.normal(size=(len(graph.senders), 2))).astype(np.float32)
  a = np.asarray(graphs.edge_softmax(graph, logits))
  for i in range(40):
    mine = graph.receivers == i
    e = np.exp(logits[mine] - logits[mine].max(0))
    np.testing.assert_allclose(a[mine], e / e.sum(0), rtol=1e-5, atol=1e-7)
  masked = np.asarray(graphs.edge_softmax(graph, logits, mask=1 - graph.edges["self"]))
  assert not masked[graph.edges["self"] == 1].any()
  assert not masked[graph.receivers == 39].any()  # isolated: no edge left, zeros
  sums = np.bincount(graph.receivers, masked[:, 0])
  np.testing.assert_allclose(sums[:38][np.bincount(edges.ravel(), minlength=38) > 0], 1, rtol=1e-5)
  g = jax.grad(lambda x: jnp.sum(graphs.edge_softmax(graph, x, mask=1 - graph.edges["self"]) ** 2))(logits)
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


def test_refuses_bad_nodes_and_padding():
  loops = np.zeros(0, np.int32)
  for nodes, message in (
    ({}, "common length"),
    ({"a": np.ones(3), "b": np.ones(4)}, "length"),
    ({"first_edge": np.ones(3)}, "reserved"),
  ):
    with pytest.raises(ValueError, match=message):
      graphs.undirected_graph(PATH, loops, nodes)
  with pytest.raises(ValueError, match="pad_multiple"):
    build(PATH, 3, pad_multiple=0)


def test_graph_without_edges():
  graph = build(np.zeros((0, 2), np.int32), 2)
  np.testing.assert_allclose(graphs.propagate(graph, jnp.ones((2, 1)), graph.edges["gcn"]), np.ones((2, 1)))
