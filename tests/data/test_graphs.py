"""Graphs: the shipped ones agree with their published counts; users' files are checked."""

import warnings

import jax
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.preprocessing import normalize

from vita_jax.base.hashing import file_sha256
from vita_jax.data.graphs import (
  check_normalizable,
  graph_from_arrays,
  load_graph,
  load_graph_npz,
  load_unlabelled_npz,
  normalize_rows,
)

COUNTS = {  # nodes, features, classes, edges, self loops, non-zeros, max degree, class counts
  "cora": (2708, 1433, 7, 5278, 0, 49216, 168, [351, 217, 418, 818, 426, 298, 180]),
  "citeseer": (3327, 3703, 6, 4552, 124, 105165, 99, [249, 590, 668, 701, 596, 508]),
  "pubmed": (19717, 500, 3, 44324, 3, 988031, 171, [4103, 7739, 7875]),
}


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_planetoid_counts(name, request):
  if name != "citeseer":
    request.getfixturevalue("vita_data_dir")
  graph = load_graph(name)
  n, f, c, e, loops, nnz, degree, per_class = COUNTS[name]
  assert graph.features.shape == (n, f) and graph.n_classes == c and graph.name == name
  assert graph.edges.shape == (e, 2) and graph.self_loops.shape == (loops,)
  assert graph.features.nnz == nnz and np.bincount(graph.edges.ravel()).max() == degree
  labelled = graph.labels[graph.labels >= 0]
  np.testing.assert_array_equal(np.bincount(labelled), per_class)
  assert [int(m.sum()) for m in (graph.train_mask, graph.val_mask, graph.test_mask)] == [20 * c, 500, 1000]
  assert graph.edges.dtype == graph.labels.dtype == graph.self_loops.dtype == np.int32
  assert graph.features.dtype == np.float32 and graph.train_mask.dtype == bool
  assert (graph.edges[:, 0] < graph.edges[:, 1]).all()


def test_citeseer_oddities():
  graph = load_graph("citeseer")
  degree = np.bincount(graph.edges.ravel(), minlength=3327)
  assert (degree == 0).sum() == 48
  empty = np.flatnonzero(np.diff(graph.features.indptr) == 0)
  np.testing.assert_array_equal(empty, np.flatnonzero(graph.labels == -1))
  assert len(empty) == 15 and empty[0] == 2407 and (degree[empty] > 0).all()
  assert graph.train_mask[:120].all() and graph.val_mask[120:620].all()


def test_users_file_is_cleaned(tmp_path, toy_arrays):
  path = tmp_path / "toy.npz"
  np.savez_compressed(path, **toy_arrays)
  graph = load_graph_npz(path)
  assert graph.edges.tolist() == [[0, 1], [1, 2], [2, 4]]
  np.testing.assert_array_equal(graph.self_loops, [3])
  np.testing.assert_array_equal(graph.features.toarray(), toy_arrays["features"])
  np.testing.assert_array_equal(graph.val_mask, [False, False, False, True, False])
  np.testing.assert_array_equal(graph.test_mask, [False, True, False, False, True])
  assert graph.n_classes == 2 and graph.name == "toy" and graph.sha256 == file_sha256(path)


def test_dense_and_csr_features_are_the_same_graph(toy_arrays):
  dense = graph_from_arrays(toy_arrays, name="a", sha256="")
  csr = sp.csr_matrix(toy_arrays.pop("features"))
  parts = {"feat_indptr": csr.indptr, "feat_indices": csr.indices, "feat_data": csr.data}
  for extra in ({}, {"num_features": np.int64(3)}):
    sparse = graph_from_arrays({**toy_arrays, **parts, **extra}, name="a", sha256="")
    assert (sparse.features != dense.features).nnz == 0 and sparse.features.shape == (5, 3)
  wider = graph_from_arrays({**toy_arrays, **parts, "num_features": np.array(9)}, name="a", sha256="")
  assert wider.features.shape == (5, 9)


def test_the_shipped_file_is_a_valid_users_file(tmp_path):
  from vita_jax.data.sources import data_file, load

  ours, shipped = load_graph_npz(data_file("planetoid/citeseer.npz")), load_graph("citeseer")
  np.testing.assert_array_equal(ours.edges, load("planetoid/citeseer")["edges"])
  np.testing.assert_array_equal(ours.self_loops, shipped.self_loops)
  assert ours.sha256 == shipped.sha256


def test_optional_keys(toy_arrays):
  del toy_arrays["test_mask"]
  graph = graph_from_arrays(
    {**toy_arrays, "num_classes": np.array(4), "self_loop_nodes": np.array([0, 3])}, name="a", sha256=""
  )
  assert not graph.test_mask.any() and graph.n_classes == 4
  np.testing.assert_array_equal(graph.self_loops, [0, 3])
  no_edges = graph_from_arrays({**toy_arrays, "edges": np.zeros((0, 2), np.int64)}, name="a", sha256="")
  assert no_edges.edges.shape == (0, 2)


CSR = {
  "feat_indptr": np.array([0, 1, 1, 1, 1, 1]),
  "feat_indices": np.array([2]),
  "feat_data": np.array([1.0]),
}


@pytest.mark.parametrize(
  "change,message",
  [
    ({"edges": np.array([[0, 5]])}, r"edges must name nodes 0 .. 4, found 0 .. 5"),
    ({"edges": np.array([[-1, 2]])}, "found -1"),
    ({"edges": np.array([[0, 1, 2], [1, 2, 3]])}, "transpose"),
    ({"edges": np.array([[0.0, 1.0]])}, "edges must be integers"),
    ({"self_loop_nodes": np.array([7])}, "self_loop_nodes must name nodes"),
    ({"features": np.full((5, 2), np.nan)}, "NaN or infinite"),
    ({"features": np.full((5, 2), 1e300)}, "NaN or infinite"),
    ({"features": np.ones(5)}, r"features must be numbers \[N, F\]"),
    ({"features": np.array([["a"] * 2] * 5)}, "features must be numbers"),
    ({"features": np.ones((4, 2))}, "5 labels, 4 rows"),
    ({"features": np.ones((0, 2))}, "at least one row"),
    ({"labels": np.array([0, 1, -2, 1, 0])}, "labels must be in -1"),
    ({"labels": np.zeros((5, 2), int)}, r"labels must be integers \['any'\]"),
    ({"labels": np.array([0.0, 1, 1, 1, 0])}, "labels must be integers"),
    ({"num_classes": np.array(1)}, "num_classes 1"),
    ({"train_mask": np.zeros(5, bool)}, "selects no node"),
    ({"train_mask": np.ones(4, bool)}, r"train_mask must be bool \[5\]"),
    ({"train_mask": np.array([0, 2])}, r"train_mask holds nodes without label: \[2\]"),
    ({"test_mask": np.array([2])}, "test_mask holds nodes without label"),
    ({"val_mask": np.array([5])}, "val_mask must name nodes"),
    ({"val_mask": np.array([0, 0, 0, 1, 0])}, "save it as bool"),
    ({"val_mask": np.array([0])}, r"overlap at nodes \[0\]"),
    ({"val_mask": None}, r"missing keys \['val_mask'\], found \['edges'"),
    ({"features": None}, r"missing keys \['features'\]"),
    ({**CSR, "feat_data": None}, r"missing keys \['feat_data'\]"),
    ({**CSR, "feat_data": np.array([np.inf])}, "NaN or infinite"),
    ({**CSR, "feat_data": np.ones(2)}, "feat_data must be numbers"),
    ({**CSR, "feat_indices": np.array([-1])}, "feat_indices must be in"),
    ({**CSR, "num_features": np.array(2)}, r"feat_indices must be in 0 .. 1"),
    ({**CSR, "feat_indptr": np.array([0, 2, 1, 1, 1, 1])}, "feat_indptr must rise"),
    ({**CSR, "feat_indptr": np.array([0, 1, 1, 1, 1, 2])}, "feat_indptr must rise"),
    ({**CSR, "feat_indptr": np.zeros(0, int)}, "feat_indptr must rise"),
  ],
)
def test_bad_graphs_are_refused_with_one_line(tmp_path, toy_arrays, change, message):
  arrays = {k: v for k, v in {**toy_arrays, **change}.items() if v is not None}
  np.savez(tmp_path / "bad.npz", **arrays)
  with pytest.raises(ValueError, match=message) as error:
    load_graph_npz(tmp_path / "bad.npz")
  assert "\n" not in str(error.value) and "bad.npz" in str(error.value)


def test_rows_that_sum_to_one_match_scikit_learn():
  features = load_graph("citeseer").features
  for normalization, norm in (("row", "l1"), ("abs", "l1"), ("l2", "l2")):  # the same where none is negative
    ours, reference = normalize_rows(features, normalization), normalize(features, norm=norm)
    np.testing.assert_allclose(ours.data, reference.data, rtol=1e-6)
    assert ours.dtype == np.float32
  assert features.data.max() == 1  # the input is left alone


MIXED = np.array([[1, 3, 0], [0, 0, 0], [4, -1, 0], [2, -2, 0]], np.float32)


@pytest.mark.parametrize(
  "normalization,expected",
  [
    ("row", [[0.25, 0.75, 0], [0, 0, 0], [4 / 3, -1 / 3, 0], [0, 0, 0]]),
    ("abs", [[0.25, 0.75, 0], [0, 0, 0], [0.8, -0.2, 0], [0.5, -0.5, 0]]),
    ("l2", [[0.1**0.5, 0.9**0.5, 0], [0, 0, 0], [4 / 17**0.5, -1 / 17**0.5, 0], [0.5**0.5, -(0.5**0.5), 0]]),
    ("none", MIXED),
    ("binary", [[1, 1, 0], [0, 0, 0], [1, 1, 0], [1, 1, 0]]),
    ("binary_row", [[0.5, 0.5, 0], [0, 0, 0], [0.5, 0.5, 0], [0.5, 0.5, 0]]),
  ],
)
def test_normalisation_by_hand_is_the_same_for_sparse_dense_and_traced_rows(normalization, expected):
  program = jax.jit(lambda x: normalize_rows(x, normalization))
  for found in (
    normalize_rows(sp.csr_matrix(MIXED), normalization).toarray(),
    normalize_rows(MIXED, normalization),
    program(MIXED),
  ):
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == np.float32


def test_gradients_pass_straight_through_what_is_made_binary():
  gradient = jax.grad(lambda x: (normalize_rows(x, "binary") * 3).sum())(jax.numpy.asarray(MIXED))
  np.testing.assert_array_equal(gradient, np.full(MIXED.shape, 3))


@pytest.mark.parametrize(
  "rows,normalization,message",
  [
    (
      [[1, 0], [3, -2.9999]],
      "row",
      "1 of 2 nodes are negative or close to 0 .node 1: .*normalization=abs, l2",
    ),
    ([[1, 0], [1, -3]], "row", "node 1: -2, magnitudes sum to 4"),
    ([[-1, -3], [1, 0]], "row", "node 0: -4"),
    ([[1e-30, 0], [1, 0]], "l2", "1 of 2 nodes .*too small or too large"),
    ([[1e20, 0], [1, 0]], "abs", "too small or too large"),
  ],
)
def test_rows_that_normalisation_would_blow_up_are_refused(rows, normalization, message):
  with pytest.raises(ValueError, match=message) as error:
    check_normalizable(sp.csr_matrix(np.array(rows, np.float32)), normalization)
  assert "\n" not in str(error.value)


def test_ordinary_rows_pass():
  rows = sp.csr_matrix(np.array([[0, 0], [1, 2], [3, -1], [1e-9, 1e-9]], np.float32))
  check_normalizable(rows, "row")
  check_normalizable(sp.csr_matrix(MIXED), "none")
  with pytest.raises(ValueError, match="did you mean 'abs'"):
    normalize_rows(rows, "abz")


def _edges(toy, edges, **more):
  return graph_from_arrays({**toy, "edges": np.array(edges), **more}, name="a", sha256="")


@pytest.mark.parametrize(
  "edges", [[[0, 1], [1, 2], [3, 4]], [[0, 1], [1, 0], [2, 1], [1, 2], [3, 3]], [[1, 1]], [[0, 1], [0, 1]]]
)
def test_undirected_lists_are_taken_without_a_word(toy_arrays, edges):
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    _edges(toy_arrays, edges)


@pytest.mark.parametrize(
  "edges,single,every", [([[1, 0], [2, 3]], 2, 2), ([[0, 1], [1, 0], [1, 2]], 1, 3), ([[0, 1], [4, 2]], 2, 2)]
)
def test_directed_edges_are_symmetrised_with_a_word(toy_arrays, edges, single, every):
  with pytest.warns(
    UserWarning, match=f"{single} of {every} edges are listed in one direction only"
  ) as caught:
    graph = _edges(toy_arrays, edges)
  assert len(caught) == 1 and (graph.edges[:, 0] < graph.edges[:, 1]).all()
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    said = _edges(toy_arrays, edges, directed=np.array(False))
  np.testing.assert_array_equal(said.edges, graph.edges)
  with pytest.raises(ValueError, match="directed=True"):
    _edges(toy_arrays, edges, directed=np.array(True))
  with pytest.raises(ValueError, match="directed must be one bool"):
    _edges(toy_arrays, edges, directed=np.array([1]))


def test_edge_weights_follow_their_edges(toy_arrays, tmp_path):
  edges, weight = [[2, 1], [1, 2], [0, 1], [3, 3], [1, 0]], np.array([4, 4, 0.5, 7, 0.5])
  graph = _edges(toy_arrays, edges, edge_weight=weight, self_loop_nodes=np.array([4]))
  assert graph.edges.tolist() == [[0, 1], [1, 2]] and graph.edge_weight.tolist() == [0.5, 4]
  assert graph.self_loops.tolist() == [3, 4] and graph.loop_weight.tolist() == [7, 1]
  assert _edges(toy_arrays, edges).edge_weight is None
  with pytest.warns(UserWarning, match="1 edges are listed more than once with different weights"):
    graph = _edges(toy_arrays, edges, edge_weight=np.array([4, 2, 0.5, 7, 0.5]))
  assert graph.edge_weight.tolist() == [0.5, 3]
  np.savez(tmp_path / "new.npz", edges=edges, edge_weight=weight, features=np.ones((5, 2)))
  assert load_unlabelled_npz(tmp_path / "new.npz", n_features=2).edge_weight.tolist() == [0.5, 4]


@pytest.mark.parametrize(
  "weight,message",
  [
    (np.ones(2), r"edge_weight must be numbers \[3\], one for each edge"),
    (np.array([1, 0, 1]), "finite numbers above 0, found 0 .. 1"),
    (np.array([1, -2.0, 1]), "found -2 .. 1"),
    (np.array([1, np.nan, 1]), "finite numbers"),
    (np.array(["a"] * 3), "edge_weight must be numbers"),
  ],
)
def test_bad_weights_are_refused(toy_arrays, weight, message):
  with pytest.raises(ValueError, match=message):
    _edges(toy_arrays, [[0, 1], [1, 2], [2, 3]], edge_weight=weight)


@pytest.mark.parametrize("key", ["weights", "edge_weights", "test_masks"])
def test_a_key_that_is_nearly_one_that_is_read_is_refused(key, toy_arrays):
  arrays = {**toy_arrays, key: np.ones(3)}
  with pytest.raises(ValueError, match=f"the key '{key}' is not read: did you mean"):
    graph_from_arrays(arrays, name="g", sha256="")


def test_another_key_draws_a_warning(toy_arrays):
  with pytest.warns(UserWarning, match="the key 'titles' of the graph is not read"):
    graph_from_arrays({**toy_arrays, "titles": np.arange(2)}, name="g", sha256="")


def test_features_that_float32_would_round_away_are_refused(toy_arrays):
  arrays = {k: x for k, x in toy_arrays.items() if not k.startswith("feat_")}
  n = len(arrays["labels"])
  arrays["features"] = 1.6e9 + 60.0 * np.arange(n)[:, None]
  with pytest.raises(ValueError, match="column 0 of the features is rounded away in float32"):
    graph_from_arrays(arrays, name="g", sha256="")
