"""Worker: epochs of GMNN's network of features, or of GraphMix, in torch.

Arguments: GRAPH gmnn|graphmix default|fastest; default: dense features and two threads.
"""

from __future__ import annotations

import itertools
import random
import sys

import numpy as np
import scipy.sparse as sp

from benchmarks.measure import now, serve, since
from vita_jax.data import Graph, load_graph
from vita_jax.data.graphs import normalize_rows

try:
  import torch
  import torch.nn.functional as F
except ImportError as error:
  sys.exit(f"{error.name} is missing, which this comparison needs: pip install 'vita_jax[bench]'")

PASSES, TEMPERATURE, UNLABELLED = 10, 0.1, 10.0


def csr(matrix: sp.csr_matrix) -> torch.Tensor:
  parts = (torch.from_numpy(x) for x in (matrix.indptr, matrix.indices, matrix.data))
  return torch.sparse_csr_tensor(*parts, size=matrix.shape)


class Net(torch.nn.Module):
  """Two layers without biases, dropout 0.5 of the inputs; without a matrix, the same layers alone."""

  def __init__(self, n_features: int, n_classes: int):
    super().__init__()
    self.w0 = torch.nn.Parameter(torch.empty(n_features, 16).uniform_(-0.25, 0.25))
    self.w1 = torch.nn.Parameter(torch.empty(16, n_classes).uniform_(-(n_classes**-0.5), n_classes**-0.5))

  def hidden(self, x, matrix=None):
    h = self._dropped(x) @ self.w0
    return torch.relu(h if matrix is None else matrix @ h)

  def forward(self, x, matrix):
    return matrix @ (self.hidden(x, matrix) @ self.w1)

  def _dropped(self, x):
    if x.layout != torch.sparse_csr:
      return F.dropout(x, 0.5, self.training)
    values = F.dropout(x.values(), 0.5, self.training)
    return torch.sparse_csr_tensor(x.crow_indices(), x.col_indices(), values, size=x.shape)


def inputs(graph: Graph, form: str) -> tuple[torch.Tensor, torch.Tensor]:
  """Returns binary features, dense or CSR, and D^-1/2 (A + I) D^-1/2 as CSR."""
  n = len(graph.labels)
  u, v = graph.edges.T
  loops = np.ones(n)
  loops[graph.self_loops] += 1
  every = np.arange(n)
  entries = np.r_[np.ones(2 * len(u)), loops]
  a = sp.csr_matrix((entries, (np.r_[u, v, every], np.r_[v, u, every])), shape=(n, n))
  scale = sp.diags(np.asarray(a.sum(1)).ravel() ** -0.5)
  matrix = sp.csr_matrix(scale @ a @ scale, dtype=np.float32)
  matrix.sort_indices()
  x = sp.csr_matrix(normalize_rows(graph.features, "binary"), dtype=np.float32)
  return csr(x) if form == "csr" else torch.from_numpy(x.toarray()), csr(matrix)


def make_epoch(graph: Graph, host: str, x: torch.Tensor, matrix: torch.Tensor):
  """Returns `epoch()`: a training step, then validation loss and accuracy without dropout."""
  model = Net(graph.features.shape[1], graph.n_classes)
  rates = {"lr": 0.05 if host == "gmnn" else 0.01, "weight_decay": 5e-4}
  rule = torch.optim.RMSprop if host == "gmnn" else torch.optim.Adam
  optimizer = rule(model.parameters(), **rates)
  labels = torch.from_numpy(graph.labels).long()
  train, validation = (torch.from_numpy(mask) for mask in (graph.train_mask, graph.val_mask))
  known, others = (torch.from_numpy(np.flatnonzero(mask)) for mask in (graph.train_mask, ~graph.train_mask))
  one_hot = F.one_hot(labels.clamp(min=0), graph.n_classes).float()
  targets = torch.softmax(torch.randn_like(one_hot), -1)  # GMNN: what the other network says

  def mixup(hidden, wanted):
    share, order = random.random(), torch.randperm(len(hidden))
    logits = (share * hidden + (1 - share) * hidden[order]) @ model.w1
    mixed = share * wanted + (1 - share) * wanted[order]
    return F.binary_cross_entropy(torch.softmax(logits, -1), mixed)

  def mixed_loss():
    with torch.no_grad():
      mean = sum(torch.softmax(model(x, matrix), -1) for _ in range(PASSES)) / PASSES
      guess = torch.softmax(mean.log() / TEMPERATURE, -1)
    hidden, chosen = model.hidden(x), others[torch.randint(len(others), (len(known),))]
    return mixup(hidden[known], one_hot[known]) + UNLABELLED * mixup(hidden[chosen], guess[chosen])

  def loss():
    if host == "gmnn":
      return -(targets * torch.log_softmax(model(x, matrix), -1)).sum(-1).mean()
    if random.random() < 0.5:
      return mixed_loss()
    return F.cross_entropy(model(x, matrix)[train], labels[train])

  def epoch() -> tuple[float, float]:
    model.train()
    optimizer.zero_grad()
    loss().backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
      logits = model(x, matrix)[validation]
      found = F.cross_entropy(logits, labels[validation])
      return float(found), float((logits.argmax(-1) == labels[validation]).float().mean())

  return epoch


def main(name: str, host: str, which: str) -> None:
  torch.manual_seed(0)
  graph, timings = load_graph(name), {}
  forms = [("dense", 2)] if which == "default" else itertools.product(("dense", "csr"), (1, 2))
  for form, threads in forms:
    torch.set_num_threads(threads)
    epoch = make_epoch(graph, host, *inputs(graph, form))
    epoch(), epoch()
    random.seed(0)  # the same coins for every form
    start = now()
    for _ in range(8):
      epoch()
    timings[form, threads] = since(start).wall, epoch
  (form, threads), (_, epoch) = min(timings.items(), key=lambda item: item[1][0])
  torch.set_num_threads(threads)
  serve(lambda n: [epoch() for _ in range(n)], features=form, threads=threads)


if __name__ == "__main__":
  main(*sys.argv[1:])
