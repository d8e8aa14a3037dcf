"""Worker: deeprobust's Nettack on one node after the other, links alone. Arguments: GRAPH BUDGET."""

from __future__ import annotations

import itertools
import sys
import types

import numpy as np

from benchmarks.measure import serve
from vita_jax.attacks.graph_edits import links_matrix
from vita_jax.attacks.surrogate import train_surrogate
from vita_jax.data import load_graph

try:
  import torch

  # deeprobust imports it for an attack that is not run here.
  sys.modules.setdefault("torch_scatter", types.SimpleNamespace(scatter_add=None))  # type: ignore[arg-type]
  from deeprobust.graph.targeted_attack import Nettack
except ImportError as error:
  sys.exit(f"{error.name} is missing, which this comparison needs: pip install deeprobust")


def main(name: str, budget: int) -> None:
  torch.set_num_threads(1)
  graph = load_graph(name)
  weight = torch.tensor(train_surrogate(graph), dtype=torch.float32)
  layers = {"gc1": weight, "gc2": torch.eye(weight.shape[1])}
  surrogate = types.SimpleNamespace(
    **{name: types.SimpleNamespace(weight=w) for name, w in layers.items()},
    nclass=weight.shape[1],
    nfeat=len(weight),
    hidden_sizes=[weight.shape[1]],
    with_relu=False,
  )
  links, features = links_matrix(graph), graph.features.astype(np.float64)
  labels = graph.labels.astype(np.int64)
  nodes = itertools.cycle(np.flatnonzero(graph.test_mask).tolist())

  def attack(n: int) -> None:
    for _ in range(n):
      one = Nettack(surrogate, nnodes=len(labels), attack_structure=True, attack_features=False)
      one.attack(features, links, labels, next(nodes), budget, verbose=False)

  attack(2)  # numba compiles
  serve(attack)


if __name__ == "__main__":
  main(sys.argv[1], int(sys.argv[2]))
