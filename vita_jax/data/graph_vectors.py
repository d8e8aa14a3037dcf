"""Graph completion: a node's target is its row of the left singular vectors of the features."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

USUAL_RANK = 24  # of the released code, for Citeseer


def completion_targets(features_normalized: Any, *, rank: int) -> np.ndarray:
  """Computes the first `rank` left singular vectors of X, by decreasing singular value, not scaled by it.

  X = U diag(s) V^T, target U[:, :rank], with orthonormal columns. A singular vector is defined up
  to its sign; the entry of largest magnitude of each column is made positive. Runs once on the
  host (Lanczos on the smaller Gram matrix, float64, fixed start vector), never in training.

  Args:
    features_normalized: float [N, F], dense or CSR, each row divided by its sum.
    rank: number of columns, 1 <= rank < min(N, F); 0: 24, or as many as X has.

  Returns:
    float32 [N, rank], or [N, r] where rank is 0.

  Raises:
    ValueError: rank out of range, or larger than the numerical rank of X (the further columns
      would be arbitrary).

  Source: paper, section 3, graph completion; the released `main_comp.py`.
  """
  from scipy.sparse.linalg import svds  # slow to import

  smaller = min(features_normalized.shape)
  wanted = rank or min(USUAL_RANK, smaller - 1)
  if not 1 <= wanted < smaller:
    raise ValueError(f"rank={wanted} must be between 1 and {smaller - 1}, below both sides of X")
  features = scipy.sparse.csr_matrix(features_normalized, dtype=np.float64)
  start = np.random.default_rng(0).standard_normal(smaller)
  vectors, values, _ = svds(features, k=wanted, v0=start)
  order = np.argsort(-values)
  vectors, values = vectors[:, order], values[order]
  # Lanczos works on X^T X, so a zero singular value comes back near sqrt(float64 eps).
  found = int((values > 1e-6 * values[0]).sum())
  if found < wanted and (rank or not found):
    raise ValueError(f"rank={wanted} exceeds the rank {found} of the features: use rank={found}")
  vectors = vectors[:, :found]
  largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(found)]
  return (vectors * np.sign(largest)).astype(np.float32)
