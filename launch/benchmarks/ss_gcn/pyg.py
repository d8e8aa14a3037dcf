"""Worker: epochs of the same GCN in PyTorch Geometric. Arguments: GRAPH default|fastest."""

from __future__ import annotations

import itertools
import sys

import numpy as np

from benchmarks.measure import now, serve, since
from vita_jax.data import Graph, load_graph
from vita_jax.data.graphs import normalize_rows

try:
  import torch
  import torch.nn.functional as F
  from torch_geometric.nn import GCNConv
except ImportError as error:
  sys.exit(f"{error.name} is missing, which this comparison needs: pip install 'vita_jax[bench]'")


class GCN(torch.nn.Module):
  """Two layers without biases, hidden 16, dropout 0.5 on the hidden layer only, cached normalisation."""

  def __init__(self, n_features: int, n_classes: int):
    super().__init__()
    self.first = GCNConv(n_features, 16, cached=True, bias=False)
    self.second = GCNConv(16, n_classes, cached=True, bias=False)

  def forward(self, features, edges, weight=None):
    hidden = F.dropout(self.first(features, edges, weight).relu(), 0.5, self.training)
    return self.second(hidden, edges, weight)


def inputs(graph: Graph, features: str, edges: str) -> tuple:
  """Returns the arguments of `GCN.forward`: features "dense" or "csr"; edges as "index" or "csr" matrix."""
  x = normalize_rows(graph.features, "row")
  if features == "csr":
    parts = (torch.from_numpy(a) for a in (x.indptr, x.indices, x.data))
    x = torch.sparse_csr_tensor(*parts, size=x.shape)
  else:
    x = torch.from_numpy(x.toarray())
  loops = np.stack([graph.self_loops] * 2, axis=1)
  pairs = torch.from_numpy(np.concatenate([graph.edges, graph.edges[:, ::-1], loops]).T.astype(np.int64))
  # A raw self-loop counts beside the added one: 2 on the diagonal, as in vita_jax. GCNConv keeps the weight
  # of a self-loop that it finds in an edge list, and adds 1 to the diagonal of a matrix.
  if edges == "index":
    return x, pairs, torch.where(pairs[0] == pairs[1], 2.0, 1.0)
  n_nodes = len(graph.labels)
  return x, torch.sparse_coo_tensor(pairs, torch.ones(pairs.shape[1]), (n_nodes, n_nodes)).to_sparse_csr()


def make_epoch(graph: Graph, arguments: tuple):
  """Returns `epoch()`: a training step, then validation loss and accuracy on its weights without dropout."""
  model = GCN(graph.features.shape[1], graph.n_classes)
  optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
  labels = torch.from_numpy(graph.labels).long()
  train, validation = (torch.from_numpy(mask) for mask in (graph.train_mask, graph.val_mask))

  def epoch() -> tuple[float, float]:
    model.train()
    optimizer.zero_grad()
    F.cross_entropy(model(*arguments)[train], labels[train]).backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
      logits = model(*arguments)[validation]
      loss = F.cross_entropy(logits, labels[validation])
      return float(loss), float((logits.argmax(-1) == labels[validation]).float().mean())

  return epoch


def main(name: str, which: str) -> None:
  torch.manual_seed(0)
  graph, timings = load_graph(name), {}
  forms = [("dense", "index")]
  if which == "fastest":
    forms = itertools.product(("dense", "csr"), ("index", "csr"))
  for features, edges in forms:
    epoch = make_epoch(graph, inputs(graph, features, edges))
    for threads in (1, 2):
      torch.set_num_threads(threads)
      epoch(), epoch()
      start = now()
      epoch(), epoch(), epoch()
      timings[features, edges, threads] = since(start).wall, epoch
  (features, edges, threads), (_, epoch) = min(timings.items(), key=lambda item: item[1][0])
  torch.set_num_threads(threads)
  serve(lambda n: [epoch() for _ in range(n)], features=features, edges=edges, threads=threads)


if __name__ == "__main__":
  main(*sys.argv[1:])
