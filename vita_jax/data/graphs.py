"""Attributed graphs with node labels and splits, checked once, and the normalisation of their features."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.sparse as sp

from vita_jax.base.choose import choose, nearest
from vita_jax.base.hashing import file_sha256
from vita_jax.data.files import read_npz
from vita_jax.data.sources import SOURCES, load

NORMALIZATIONS = ("row", "abs", "l2", "none", "binary", "binary_row")
# Keys that may be left out, so that a misspelt one would be missed by nobody; and all that are known.
OPTIONAL = ("edge_weight", "directed", "test_mask", "self_loop_nodes", "num_classes", "num_features")
KEYS = ("edges", "features", "feat_indptr", "feat_indices", "feat_data", "labels", "train_mask", "val_mask")
_SHIPPED = ("num_nodes", "test_index_order")  # facts of the shipped files
_MOST_LOST = 1e-3  # of a feature's spread, by rounding to float32
_LEAST_SHARE = 0.1  # of a row's sum in its sum of magnitudes: below it, dividing by the sum blows the row up
_RANGE = (1e-15, 1e15)  # of a row: beyond, its float32 square is 0 or infinite
_MOST_CLASSES = 2**16  # a label beyond is a slip, and would ask for that many logits


class Graph(NamedTuple):
  """An undirected graph on N nodes, held on the host.

  Attributes:
    edges: int32 [E, 2], unique, u < v, sorted; each undirected edge once.
    self_loops: int32 [S], sorted: nodes whose raw adjacency contains themselves.
    features: csr_matrix float32 [N, F], raw (not row-normalised), column indices sorted.
    labels: int32 [N], -1 = no label.
    train_mask, val_mask, test_mask: bool [N], disjoint; only labelled nodes.
    n_classes: number of classes C.
    sha256: of the file the graph came from: identifies it in caches.
    name: short name.
    edge_weight: float32 [E], above 0; None: every edge weighs 1.
    loop_weight: float32 [S], weights of the self-loops; None: 1.
  """

  edges: np.ndarray
  self_loops: np.ndarray
  features: sp.csr_matrix
  labels: np.ndarray
  train_mask: np.ndarray
  val_mask: np.ndarray
  test_mask: np.ndarray
  n_classes: int
  sha256: str
  name: str
  edge_weight: np.ndarray | None = None
  loop_weight: np.ndarray | None = None


def load_graph(name: str) -> Graph:
  """Loads a citation graph with its public split: "citeseer" (shipped), "cora" or "pubmed".

  Raises:
    ValueError, FileNotFoundError: see `vita_jax.data.sources.load`.
  """
  source = f"planetoid/{name}"
  return graph_from_arrays(load(source), name=name, sha256=SOURCES[source].sha256)


def load_graph_npz(path: str | os.PathLike) -> Graph:
  """Loads a graph of your own from one npz file (`numpy.savez_compressed(path, edges=..., ...)`).

  Keys (another one draws a warning, or is refused where it is nearly one of these):
    edges: int [E, 2]; each undirected edge once, u < v, or in both directions; duplicates and self loops
      are fine. Edges that are listed in one direction only, some as u > v, are counted in a warning and
      taken as undirected.
    directed: bool, optional: False says that edges have no direction, however they are listed (no
      warning); True is refused: the networks here are for undirected graphs.
    edge_weight: number [E], optional, above 0; where an edge is listed several times, the mean counts.
    features: number [N, F], dense; or, as CSR, feat_indptr int [N+1], feat_indices int [nnz],
      feat_data number [nnz] and num_features int (default: largest index + 1).
    labels: int [N], -1 = no label.
    train_mask, val_mask, test_mask: bool [N], or int [K] node numbers; test_mask may be left out.
    num_classes: int, optional (default: largest label + 1).
    self_loop_nodes: int [S], optional: further self loops.

  Raises:
    FileNotFoundError: no such file.
    ValueError: an unreadable file (see `read_npz`); missing keys; wrong shapes or dtypes; edges
      or node numbers out of range; directed edges; weights that are no finite numbers above 0; NaN or
      infinite features; labels < -1 or >= num_classes; an empty train mask; nodes in a mask without
      label; masks that overlap.
  """
  name = os.path.splitext(os.path.basename(os.fspath(path)))[0]
  arrays = read_npz(path)
  try:
    return graph_from_arrays(arrays, name=name, sha256=file_sha256(path))
  except ValueError as e:
    raise ValueError(f"{os.fspath(path)}: {e}") from e


def load_unlabelled_npz(path: str | os.PathLike, *, n_features: int) -> Graph:
  """Loads a graph to predict on: the keys of `load_graph_npz` but labels and masks, which are ignored.

  Args:
    path: the npz file.
    n_features: what the model was trained with; CSR features that leave out the last columns are widened.

  Returns:
    a Graph without labels (-1) and with empty masks.

  Raises:
    FileNotFoundError, ValueError: as `load_graph_npz`; or another number of features.
  """
  arrays = read_npz(path)
  try:
    if missing := sorted({"edges", "feat_indptr" if "feat_indptr" in arrays else "features"} - set(arrays)):
      raise ValueError(f"missing keys {missing}, found {sorted(arrays)}; add them")
    features = _features(arrays)
    if features.shape[1] > n_features or ("features" in arrays and features.shape[1] != n_features):
      raise ValueError(f"{features.shape[1]} features per node, but the model was trained with {n_features}")
    features.resize(features.shape[0], n_features)
    edges = _edges(arrays, features.shape[0])
  except ValueError as e:
    raise ValueError(f"{os.fspath(path)}: {e}") from e
  none = np.zeros(features.shape[0], bool)
  return Graph(
    **edges,
    features=features,
    labels=none.astype(np.int32) - 1,
    train_mask=none,
    val_mask=none,
    test_mask=none,
    n_classes=0,
    sha256=file_sha256(path),
    name=os.path.splitext(os.path.basename(os.fspath(path)))[0],
  )


def normalize_rows(features: Any, normalization: str) -> Any:
  """Divides each row of a feature matrix by its size; rows of size 0 become (or stay) 0.

  Training and exported programs call this one function: a scipy matrix is summed in float64, an array of
  numpy or JAX (perhaps inside a compiled program) in its own type.

  Args:
    features: float32 [N, F]: scipy CSR, numpy or JAX.
    normalization: what a row's size is: "row", its sum; "abs", its sum of magnitudes; "l2", its
      Euclidean length; "none": the features stay as they are; "binary": what is not 0 becomes 1 (gradients of
      JAX arrays pass straight through); "binary_row": the same, divided by how many there are.

  Returns:
    float32 [N, F] of the kind given. Check host features with `check_normalizable` first.

  Raises:
    ValueError: unknown normalization.

  Examples:
    >>> normalize_rows(np.array([[1, -3], [0, 0]], np.float32), "abs").tolist()
    [[0.25, -0.75], [0.0, 0.0]]
  """
  choose("normalization", normalization, NORMALIZATIONS)
  if normalization == "none":
    return features
  if normalization == "binary":
    return _binary(features)
  if normalization == "binary_row":
    return normalize_rows(_binary(features), "row")
  if not sp.issparse(features):
    sizes = _row_sizes(features, normalization, lambda x: x.sum(-1, keepdims=True))
    return (features * (sizes != 0) / (sizes + (sizes == 0))).astype(features.dtype)
  features = sp.csr_matrix(features, dtype=np.float32)
  sizes = _row_sizes(features, normalization, lambda x: np.asarray(x.sum(axis=1, dtype=np.float64)).ravel())
  scale = np.divide(1.0, sizes, out=np.zeros_like(sizes), where=sizes != 0)
  values = features.data * np.repeat(scale, np.diff(features.indptr))
  return sp.csr_matrix((values.astype(np.float32), features.indices, features.indptr), shape=features.shape)


def _binary(features: Any) -> Any:
  if sp.issparse(features):
    found = sp.csr_matrix(features != 0, dtype=np.float32)
    found.sort_indices()
    return found
  present = (features != 0).astype(features.dtype)
  if isinstance(features, np.ndarray):
    return present
  return present + (features - jax.lax.stop_gradient(features))


def _row_sizes(features: Any, normalization: str, total: Callable[[Any], Any]) -> Any:
  if normalization == "row":
    return total(features)
  return total(abs(features)) if normalization == "abs" else total(_squared(features)) ** 0.5


def _squared(features: Any) -> Any:
  return features.multiply(features) if sp.issparse(features) else features * features


def check_normalizable(features: sp.csr_matrix, normalization: str) -> None:
  """Checks that no row explodes when it is divided by its size (see `normalize_rows`).

  Raises:
    ValueError: with "row", a row whose sum is below 0 or below a tenth of its sum of magnitudes; with
      "row", "abs" or "l2", a row too small or too large for float32. The message names the rows and a remedy.
  """
  if normalization in ("none", "binary", "binary_row"):
    return
  sizes = np.asarray(abs(features).sum(axis=1, dtype=np.float64)).ravel()
  least, most = _RANGE
  extreme = np.flatnonzero((sizes > 0) & ~((sizes > least) & (sizes < most)))
  if len(extreme):
    raise ValueError(
      f"normalization '{normalization}': the features of {len(extreme)} of {len(sizes)} nodes (the first is"
      f" node {extreme[0]}) are too small or too large: scale them, or use normalization 'none'"
    )
  if normalization != "row":
    return
  sums = np.asarray(features.sum(axis=1, dtype=np.float64)).ravel()
  bad = np.flatnonzero(sums < _LEAST_SHARE * sizes)
  if len(bad):
    raise ValueError(
      f"normalization 'row' divides by row sums, but those of {len(bad)} of {len(sizes)} nodes are negative"
      f" or close to 0 (node {bad[0]}: {sums[bad[0]]:.3g}, magnitudes sum to {sizes[bad[0]]:.3g}): use"
      " config.normalization=abs, l2 or none"
    )


def graph_from_arrays(arrays: dict[str, np.ndarray], *, name: str, sha256: str) -> Graph:
  """Makes a checked Graph of arrays under the keys of `load_graph_npz`; ValueError as there."""
  _check_keys(arrays)
  is_csr = "feat_indptr" in arrays
  needed = {"feat_indptr", "feat_indices", "feat_data"} if is_csr else {"features"}
  if missing := sorted({"edges", "labels", "train_mask", "val_mask", *needed} - set(arrays)):
    raise ValueError(f"missing keys {missing}, found {sorted(arrays)}; add them")
  features = _features(arrays)
  n_nodes = features.shape[0]
  labels = _integers(arrays, "labels", (None,))
  if len(labels) != n_nodes:
    raise ValueError(
      f"labels and features disagree on the number of nodes: {len(labels)} labels, {n_nodes} rows of features"
    )
  edges = _edges(arrays, n_nodes)
  lowest, highest = labels.min(initial=0), labels.max(initial=-1)
  n_classes = int(_integers(arrays, "num_classes", ())) if "num_classes" in arrays else highest + 1
  if lowest < -1 or highest >= n_classes:
    raise ValueError(
      f"labels must be in -1 .. {n_classes - 1} (num_classes {n_classes}), found {lowest} .. {highest}"
    )
  if n_classes > _MOST_CLASSES:
    raise ValueError(
      f"labels up to {n_classes - 1} would make {n_classes} classes, more than "
      f"{_MOST_CLASSES}; number the classes 0, 1, ..."
    )
  masks = {key: _mask(arrays, key, labels) for key in ("train_mask", "val_mask", "test_mask")}
  if not masks["train_mask"].any():
    raise ValueError("train_mask selects no node; at least one is needed")
  if overlap := np.flatnonzero(sum(m.astype(np.int8) for m in masks.values()) > 1).tolist():
    raise ValueError(
      f"train_mask, val_mask and test_mask overlap at nodes {overlap[:5]}; a node may be in one of them only"
    )
  return Graph(
    **edges,
    features=features,
    labels=labels.astype(np.int32),
    **masks,
    n_classes=int(n_classes),
    sha256=sha256,
    name=name,
  )


def _features(arrays):
  if "feat_indptr" not in arrays:
    dense = arrays["features"]
    if dense.ndim != 2 or dense.dtype.kind not in "buif":
      raise ValueError(f"features must be numbers [N, F], got {dense.dtype} {list(dense.shape)}")
    features = sp.csr_matrix(_finite(dense))
  else:
    indptr = _integers(arrays, "feat_indptr", (None,))
    indices = _integers(arrays, "feat_indices", (None,))
    values = arrays["feat_data"]
    if values.shape != indices.shape or values.dtype.kind not in "buif":
      raise ValueError(
        f"feat_data must be numbers {list(indices.shape)} like feat_indices, got "
        f"{values.dtype} {list(values.shape)}"
      )
    ends = indptr[[0, -1]].tolist() if len(indptr) else None
    if ends != [0, len(indices)] or (np.diff(indptr) < 0).any():
      raise ValueError("feat_indptr must rise from 0 to the length of feat_indices")
    n_features = (
      int(_integers(arrays, "num_features", ()))
      if "num_features" in arrays
      else int(indices.max(initial=-1)) + 1
    )
    if len(indices) and not (0 <= indices.min() and indices.max() < n_features):
      raise ValueError(
        f"feat_indices must be in 0 .. {n_features - 1}, found {indices.min()} .. {indices.max()}"
      )
    features = sp.csr_matrix(
      (_finite(values), indices.astype(np.int32), indptr.astype(np.int32)),
      shape=(len(indptr) - 1, n_features),
    )
    features.sum_duplicates()  # sorts the column indices, too
  if 0 in features.shape:
    raise ValueError(f"features must have at least one row and column, got {features.shape}")
  return features


def _check_keys(arrays: Mapping[str, np.ndarray]) -> None:
  """Refuses a key that is nearly an optional one: a weight that is spelled wrong would not be used."""
  for key in sorted(set(arrays) - {*KEYS, *OPTIONAL, *_SHIPPED}):
    if near := nearest(key, OPTIONAL, cutoff=0.65):
      raise ValueError(f"the key '{key}' is not read: did you mean '{near}'? Rename it, or leave it out")
    warnings.warn(f"the key '{key}' of the graph is not read", stacklevel=3)


def _finite(values):
  with np.errstate(over="ignore"):
    rounded = values.astype(np.float32)
  if not np.isfinite(rounded).all():
    raise ValueError("features hold NaN or infinite values (in float32); clean them first")
  if values.size and values.dtype.itemsize > 2:  # look before the cast: float32 has 24 bits
    wide = values.astype(np.float64)
    lost = np.abs(wide - rounded).max(axis=0)
    spread = wide.std(axis=0)
    if (bad := np.flatnonzero((lost > _MOST_LOST * spread) & (spread > 0))).size:
      where = f"column {bad[0]} of the features" if values.ndim == 2 else "feat_data"
      raise ValueError(f"{where} is rounded away in float32 (a large offset?): subtract its mean first")
  return rounded


def _edges(arrays: Mapping[str, np.ndarray], n_nodes: int) -> dict[str, Any]:
  """Returns the fields of `Graph` about edges, from raw pairs."""
  pairs = arrays["edges"]
  hint = "; transpose it" if pairs.ndim == 2 and pairs.shape[0] == 2 != pairs.shape[1] else ""
  if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
    raise ValueError(f"edges must be integers [E, 2], got {pairs.dtype} {list(pairs.shape)}{hint}")
  loops = (
    _integers(arrays, "self_loop_nodes", (None,)) if "self_loop_nodes" in arrays else np.zeros(0, np.int64)
  )
  for key, nodes in (("edges", pairs), ("self_loop_nodes", loops)):
    if nodes.size and not (0 <= nodes.min() and nodes.max() < n_nodes):
      raise ValueError(f"{key} must name nodes 0 .. {n_nodes - 1}, found {nodes.min()} .. {nodes.max()}")
  pairs = pairs.astype(np.int64)
  _check_directions(arrays, pairs, n_nodes)
  weight = _edge_weight(arrays, len(pairs))
  pairs = np.concatenate([np.sort(pairs, axis=1), np.stack([loops] * 2, 1)])
  code, place, count = np.unique(pairs[:, 0] * n_nodes + pairs[:, 1], return_inverse=True, return_counts=True)
  u, v = code // n_nodes, code % n_nodes
  found = {"edges": np.stack([u, v], 1)[u < v].astype(np.int32), "self_loops": u[u == v].astype(np.int32)}
  if weight is None:
    return found
  # A node that only self_loop_nodes names has a loop of weight 1.
  sums = np.bincount(place, np.concatenate([weight, np.ones(len(loops))]), minlength=len(code))
  mean = (sums / count).astype(np.float32)
  differs = np.zeros(len(code), bool)
  differs[place[: len(weight)][np.abs(weight - mean[place[: len(weight)]]) > 1e-6 * weight]] = True
  if differs.any():
    warnings.warn(
      f"{differs.sum()} edges are listed more than once with different weights: the mean is used",
      stacklevel=2,
    )
  return {**found, "edge_weight": mean[u < v], "loop_weight": mean[u == v]}


def _check_directions(arrays: Mapping[str, np.ndarray], pairs: np.ndarray, n_nodes: int) -> None:
  """Warns of edges that have a direction, unless `directed` says that they have none."""
  if "directed" in arrays:
    directed = arrays["directed"]
    if directed.shape != () or directed.dtype != bool:
      raise ValueError(f"directed must be one bool, got {directed.dtype} {list(directed.shape)}")
    if directed:
      raise ValueError(
        "directed=True: the networks here are for undirected graphs; save directed=False to use each edge in"
        " both directions"
      )
    return
  there = np.unique(pairs[:, 0] * n_nodes + pairs[:, 1])
  back = np.unique(pairs[:, 1] * n_nodes + pairs[:, 0])
  single = np.setdiff1d(there, back, assume_unique=True)
  falling = (single // n_nodes) > (single % n_nodes)
  both = len(there) > len(single) + np.sum(pairs[:, 0] == pairs[:, 1])  # some edges are in both directions
  if falling.any() or (both and len(single)):
    warnings.warn(
      f"{len(single)} of {len(there)} edges are listed in one direction only; each is used in both: save"
      " directed=False in the npz if that is what you mean",
      stacklevel=2,
    )


def _edge_weight(arrays: Mapping[str, np.ndarray], n_edges: int) -> np.ndarray | None:
  if "edge_weight" not in arrays:
    return None
  weight = arrays["edge_weight"]
  if weight.shape != (n_edges,) or weight.dtype.kind not in "buif":
    raise ValueError(
      f"edge_weight must be numbers [{n_edges}], one for each edge, got {weight.dtype} {list(weight.shape)}"
    )
  weight = weight.astype(np.float64)
  least, most = _RANGE
  if weight.size and not (np.isfinite(weight).all() and weight.min() > least and weight.max() < most):
    raise ValueError(
      f"edge_weight must be finite numbers above 0, found {weight.min():.3g} .. {weight.max():.3g}: leave out"
      " edges of weight 0, and choose a scale without negative ones"
    )
  return weight


def _mask(arrays, key, labels):
  """bool [N] from a bool mask, from node numbers, or (test only) from nothing."""
  n_nodes = len(labels)
  given = arrays.get(key, np.zeros(n_nodes, bool))
  if given.dtype == bool and given.shape == (n_nodes,):
    mask = given
  elif given.dtype.kind in "iu" and given.ndim == 1:
    if given.size and not (0 <= given.min() and given.max() < n_nodes):
      raise ValueError(f"{key} must name nodes 0 .. {n_nodes - 1}, found {given.min()} .. {given.max()}")
    mask = np.zeros(n_nodes, bool)
    mask[given] = True
    if mask.sum() != len(given):
      raise ValueError(f"{key} names nodes twice; if it is a 0/1 mask, save it as bool")
  else:
    raise ValueError(
      f"{key} must be bool [{n_nodes}] or int node numbers, got {given.dtype} {list(given.shape)}"
    )
  if bare := np.flatnonzero(mask & (labels < 0)).tolist():
    raise ValueError(f"{key} holds nodes without label: {bare[:5]}; label them or take them out")
  return mask


def _integers(arrays, key, shape):
  """arrays[key] as int64, of this shape (None = any length)."""
  x = arrays[key]
  fits = x.ndim == len(shape) and all(s in (None, d) for s, d in zip(shape, x.shape, strict=True))
  if not fits or x.dtype.kind not in "iu":
    expected = ["any" if s is None else s for s in shape]
    raise ValueError(f"{key} must be integers {expected}, got {x.dtype} {list(x.shape)}")
  return x.astype(np.int64)
