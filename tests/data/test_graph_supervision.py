"""The labels and what their cache depends on, on a small graph with known answers."""

import importlib.metadata
import pathlib

import numpy as np
import pytest
import scipy.sparse

from vita_jax.data import graph_supervision as labels_module
from vita_jax.data.graph_report import label_report, purity
from vita_jax.data.graph_supervision import self_supervision
from vita_jax.data.graphs import Graph, load_graph

OPTIONS = {"n_clusters": 8, "align": "classes", "n_parts": 4, "rank": 3}
MADE = {
  "cluster": "kmeans_clusters",
  "partition": "partition_labels",
  "completion": "completion_targets",
}
CACHED = tuple(MADE)


def small_graph(seed=0):
  """Four groups of 15 nodes: dense inside, joined in a ring, each with its own words."""
  rng = np.random.default_rng(seed)
  truth = np.repeat(np.arange(4), 15)
  inside = np.triu(rng.random((60, 60)) < np.where(truth[:, None] == truth, 0.5, 0.0), 1)
  inside[[0, 15, 30, 0], [15, 30, 45, 45]] = True
  words = rng.poisson(np.where(truth[:, None] == np.repeat(np.arange(4), 5), 3.0, 0.3))
  train_mask, val_mask, test_mask = (np.arange(60) % 15 % 3 == k for k in range(3))
  return Graph(
    edges=np.argwhere(inside).astype(np.int32),
    self_loops=np.zeros(0, np.int32),
    features=scipy.sparse.csr_matrix(words.astype(np.float32)),
    labels=truth.astype(np.int32),
    train_mask=train_mask,
    val_mask=val_mask,
    test_mask=test_mask,
    n_classes=4,
    sha256="0" * 64,
    name="small",
  )


def make(task, cache_dir, graph=None, **options):
  return self_supervision(
    small_graph() if graph is None else graph, task, **(OPTIONS | options), cache_dir=cache_dir
  )


def files(cache_dir):
  return sorted(pathlib.Path(cache_dir).rglob("*"), key=str)[1:]


def forbid_computing(monkeypatch, task):
  def fail(*_, **__):
    raise AssertionError("computed again")

  monkeypatch.setattr(labels_module, MADE[task], fail)


def test_none_is_none(tmp_path):
  assert make("none", tmp_path) is None


def test_targets_masks_and_widths(tmp_path):
  graph = small_graph()
  cluster, partition, completion, control = (
    make(task, tmp_path) for task in ("cluster", "partition", "completion", "random_labels")
  )
  np.testing.assert_array_equal(cluster.target, graph.labels)
  np.testing.assert_array_equal(cluster.mask, np.where(graph.train_mask, 0, 1))
  assert (cluster.n_outputs, partition.n_outputs, completion.n_outputs) == (4, 4, 3)
  assert purity(partition.target, graph.labels) == 1 and partition.meta["edge_cut"] == 4
  assert completion.target.shape == (60, 3) and completion.target.dtype == np.float32
  assert control.n_outputs == 4 and set(control.target) == set(range(4))
  for supervision in (partition, completion, control):
    np.testing.assert_array_equal(supervision.mask, 1)
  for supervision in (cluster, partition, completion, control):
    assert supervision.mask.dtype == np.float32
  for supervision in (cluster, partition, control):
    assert supervision.target.dtype == np.int32


def test_cluster_numbers_have_their_own_width(tmp_path):
  found = make("cluster", tmp_path, align="none")
  assert found.n_outputs == 8 and set(found.target) == set(range(8))
  np.testing.assert_array_equal(found.target, found.clusters.assignment)


def test_random_labels_are_uniform_seeded_and_not_cached(tmp_path):
  graph = load_graph("citeseer")
  first, again = (make("random_labels", tmp_path, graph, n_parts=14) for _ in range(2))
  other = make("random_labels", tmp_path, graph, n_parts=14, seed=1)
  np.testing.assert_array_equal(first.target, again.target)
  assert (first.target != other.target).mean() > 0.9
  count = np.bincount(first.target, minlength=14)
  assert ((count - 3327 / 14) ** 2 / (3327 / 14)).sum() < 34.5  # chi-square, 13 d.o.f., p = 0.001
  assert not files(tmp_path)


@pytest.mark.parametrize("task", CACHED)
def test_second_call_reads_what_the_first_wrote(task, tmp_path, monkeypatch):
  first = make(task, tmp_path)
  assert [path.suffix for path in files(tmp_path)] == [".npz"]
  forbid_computing(monkeypatch, task)
  second = make(task, tmp_path)
  np.testing.assert_array_equal(first.target, second.target)
  assert first.target.dtype == second.target.dtype and first.meta == second.meta


@pytest.mark.parametrize(
  "task, change",
  [
    ("cluster", {"n_clusters": 7}),
    ("cluster", {"seed": 1}),
    ("partition", {"n_parts": 3}),
    ("partition", {"seed": 1}),
    ("completion", {"rank": 2}),
  ],
)
def test_parameters_are_part_of_the_key(task, change, tmp_path):
  make(task, tmp_path)
  make(task, tmp_path, **change)
  assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("task", CACHED)
def test_graph_and_library_version_are_part_of_the_key(task, tmp_path, monkeypatch):
  graph = small_graph()
  make(task, tmp_path, graph)
  make(task, tmp_path, graph._replace(sha256="1" * 64))
  # Changed in memory, as an attack does: the file's sha256 is the old one.
  make(task, tmp_path, graph._replace(edges=graph.edges[1:], features=graph.features * 2))
  assert len(files(tmp_path)) == 3
  monkeypatch.setattr(importlib.metadata, "version", lambda name: "99.0")
  make(task, tmp_path, graph)
  assert len(files(tmp_path)) == 4


def test_another_split_gives_other_cluster_targets_from_the_same_clusters(tmp_path, monkeypatch):
  graph = small_graph()
  make("cluster", tmp_path, graph)
  forbid_computing(monkeypatch, "cluster")
  # Classes 0 and 1 change names in the training set: all their clusters must follow.
  swapped = graph._replace(labels=np.array([1, 0, 2, 3], np.int32)[graph.labels])
  np.testing.assert_array_equal(make("cluster", tmp_path, swapped).target, swapped.labels)
  few = graph._replace(train_mask=graph.train_mask & (graph.labels < 2))
  found = make("cluster", tmp_path, few)
  assert set(found.target) == {0, 1}
  np.testing.assert_array_equal(found.mask, ~few.train_mask)


def test_labels_outside_training_are_never_read(tmp_path):
  graph = small_graph()
  blind = graph._replace(labels=np.where(graph.train_mask, graph.labels, -1).astype(np.int32))
  for task in CACHED:
    seen, unseen = make(task, tmp_path / "a", graph), make(task, tmp_path / "b", blind)
    np.testing.assert_array_equal(seen.target, unseen.target)
    assert label_report(graph, seen) == label_report(blind, unseen)


def test_cache_folder_from_the_environment(tmp_path, monkeypatch):
  monkeypatch.setenv("VITA_CACHE_DIR", str(tmp_path / "here"))
  make("partition", None)
  assert len(files(tmp_path / "here")) == 1
  monkeypatch.delenv("VITA_CACHE_DIR")
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  make("partition", None)
  assert list((tmp_path / "home" / ".cache" / "vita_jax").rglob("*.npz"))


@pytest.mark.parametrize("setting", ["config.cache_dir", "VITA_CACHE_DIR"])
def test_a_cache_that_cannot_be_written_names_the_setting_in_use(setting, monkeypatch):
  monkeypatch.setenv("VITA_CACHE_DIR", "/proc/y")
  with pytest.warns(RuntimeWarning, match=f"set {setting} to a writable folder"):
    make("partition", "/proc/x" if setting == "config.cache_dir" else "")


@pytest.mark.parametrize(
  "task, nearest",
  [("partitoin", "partition"), ("clustering", "cluster"), ("random", "random_labels")],
)
def test_an_unknown_task_names_the_nearest(task, nearest, tmp_path):
  pattern = f"unknown self-supervised task '{task}': did you mean '{nearest}'"
  with pytest.raises(ValueError, match=pattern) as error:
    make(task, tmp_path)
  assert "\n" not in str(error.value)


def test_bad_parameters_and_missing_library_are_named(tmp_path, monkeypatch):
  with pytest.raises(ValueError, match="align='labels' must be 'classes' or 'none'"):
    make("cluster", tmp_path, align="labels")
  with pytest.raises(ValueError, match="n_parts=1 must be at least 2"):
    make("random_labels", tmp_path, n_parts=1)

  def missing(name):
    raise importlib.metadata.PackageNotFoundError(name)

  monkeypatch.setattr(importlib.metadata, "version", missing)
  with pytest.raises(ImportError, match=r'needs pymetis.*pip install "vita_jax\[graph\]"'):
    make("partition", tmp_path)
