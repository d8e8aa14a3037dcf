"""Completion targets: the left singular space by dense linear algebra, scale, signs, errors."""

import os

import numpy as np
import pytest
import scipy.sparse

from vita_jax.data.graph_vectors import completion_targets
from vita_jax.data.graphs import load_graph, normalize_rows

# (graph, r of the paper's GCN)
RANKS = {"citeseer": 24, "cora": 48, "pubmed": 28}


def random_features(shape, seed=0):
  return scipy.sparse.random(*shape, density=0.3, random_state=seed, format="csr", dtype=np.float32)


@pytest.mark.parametrize("shape", [(60, 20), (20, 60)])
def test_equals_dense_svd(shape):
  features = random_features(shape)
  found = completion_targets(features, rank=5)
  left, values, _ = np.linalg.svd(features.toarray().astype(np.float64))
  assert np.diff(values[:6]).max() < -1e-3  # distinct, so that each vector is defined
  assert found.dtype == np.float32 and found.shape == (shape[0], 5)
  # Column by column, up to the sign: order matters, and no scaling by singular values.
  np.testing.assert_allclose(np.abs((found * left[:, :5]).sum(0)), 1, atol=1e-5)
  np.testing.assert_allclose(found.T @ found, np.eye(5), atol=1e-5)
  np.testing.assert_array_equal(completion_targets(features.toarray(), rank=5), found)


@pytest.mark.parametrize("name", ["citeseer", "cora", pytest.param("pubmed", marks=pytest.mark.slow)])
def test_spans_the_top_left_singular_space(name):
  if name != "citeseer" and not os.environ.get("VITA_DATA_DIR"):
    pytest.skip(f"{name} is not shipped: set VITA_DATA_DIR to a folder with planetoid/{name}.npz")
  from scipy.sparse.linalg import svds

  rank = RANKS[name]
  features = normalize_rows(load_graph(name).features, "row")
  found = completion_targets(features, rank=rank).astype(np.float64)
  np.testing.assert_allclose(found.T @ found, np.eye(rank), atol=1e-5)
  independent, _, _ = svds(features.astype(np.float64), k=rank, solver="propack", rng=1)
  # |P - Q|_F of the projectors, without the N x N matrices.
  overlap = np.linalg.norm(independent.T @ found) ** 2
  assert np.sqrt(max(2 * rank - 2 * overlap, 0)) < 5e-3
  largest = found[np.abs(found).argmax(0), np.arange(rank)]
  assert (largest > 0).all()
  # Entries are near 1/sqrt(N), why the loss carries a factor of 100.
  assert 0.1 < np.abs(found).mean() * np.sqrt(len(found)) < 1


def test_repeated_calls_are_identical_and_zero_rows_stay_zero():
  features = random_features((80, 30)).tolil()
  features[7] = 0
  first, second = (completion_targets(features.tocsr(), rank=6) for _ in range(2))
  np.testing.assert_array_equal(first, second)
  np.testing.assert_allclose(first[7], 0, atol=1e-12)


def test_the_usual_rank_is_as_high_as_the_features_allow():
  assert completion_targets(random_features((60, 40)), rank=0).shape == (60, 24)
  assert completion_targets(random_features((60, 20)), rank=0).shape == (60, 19)
  flat = np.outer(np.arange(1, 21), np.ones(9)) + np.eye(20, 9)[:, :1] * np.eye(9)[0]
  assert completion_targets(flat, rank=0).shape == (20, 2)
  with pytest.raises(ValueError, match="must be between 1 and 0"):
    completion_targets(np.ones((20, 1)), rank=0)


def test_bad_ranks_are_named():
  features = random_features((20, 9))
  for rank in (-1, 9):
    with pytest.raises(ValueError, match=f"rank={rank} must be between 1 and 8"):
      completion_targets(features, rank=rank)
  flat = scipy.sparse.csr_matrix(np.outer(np.arange(1, 21), np.ones(9)))
  with pytest.raises(ValueError, match="rank=3 exceeds the rank 1 of the features"):
    completion_targets(flat, rank=3)
