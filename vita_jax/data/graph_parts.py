"""Graph partitioning: METIS cuts the graph into equal parts; a node's label is its part."""

from __future__ import annotations

import numpy as np
import scipy.sparse


def partition_labels(
  edges: np.ndarray, n_nodes: int, *, n_parts: int, seed: int = 0
) -> tuple[np.ndarray, int]:
  """Makes the labels of the graph partitioning task: METIS k-way, unweighted, without self-loops.

  Minimises the number of cut edges subject to n_parts * max_k |V_k| / N <= 1.03 (METIS's default
  tolerance, which it may miss by a little on small or disconnected graphs).

  Args:
    edges: int [E, 2] undirected edges; self-loops and repeated edges are ignored.
    n_nodes: N.
    n_parts: number of parts.
    seed: of METIS; equal seeds give equal parts.

  Returns:
    (parts int32 [N] with values in [0, n_parts), number of cut edges).

  Raises:
    ImportError: pymetis is not installed.
    ValueError: n_parts is not in [2, N], or an edge names a node outside [0, N).

  Source: paper, section 3, graph partitioning; `partition` in the released `utils.py`.
  """
  try:
    import pymetis
  except ImportError as error:
    raise ImportError(
      'graph partitioning needs pymetis, which is missing: pip install "vita_jax[graph]"'
    ) from error
  edges = np.asarray(edges)
  if not 2 <= n_parts <= n_nodes:
    raise ValueError(f"n_parts={n_parts} must be between 2 and the {n_nodes} nodes")
  if edges.ndim != 2 or edges.shape[1] != 2:
    raise ValueError(f"edges has shape {edges.shape}, need [E, 2]: one row per undirected edge")
  if edges.size and not (edges.min() >= 0 and edges.max() < n_nodes):
    raise ValueError(
      f"edges name nodes {edges.min()}..{edges.max()}, need 0..{n_nodes - 1}: fix edges or n_nodes"
    )
  u, v = edges[edges[:, 0] != edges[:, 1]].T
  # Building a CSR matrix merges repeated edges; only its pattern is used.
  adjacency = scipy.sparse.csr_matrix(
    (np.ones(2 * len(u), np.int32), (np.r_[u, v], np.r_[v, u])), shape=(n_nodes, n_nodes)
  )
  # recursive=False: left alone, pymetis bisects recursively for 8 parts or fewer.
  edge_cut, parts = pymetis.part_graph(
    n_parts,
    pymetis.CSRAdjacency(adjacency.indptr, adjacency.indices),
    recursive=False,
    options=pymetis.Options(seed=seed),
  )
  return np.asarray(parts, np.int32), int(edge_cut)
