"""Growth of time and memory with the graph, from 10^4 to 10^6 nodes: seconds and bytes per edge.

As a worker: generate NODES FILE, or measure FILE EPOCHS.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import answer, now, print_table, since

N_NEIGHBOURS, N_FEATURES, N_CLASSES, N_LABELLED = 10, 128, 10, 0.02


def main(*, sizes: Sequence[int] = (10_000, 100_000, 1_000_000), epochs: int = 5) -> None:
  header = ["nodes", "directed edges", "build s", "epoch ms", "µs/edge", "peak GiB", "bytes/edge"]
  rows, found = [header], {}
  with tempfile.TemporaryDirectory() as folder:
    for n in sizes:
      path = Path(folder) / "graph.npz"
      answer("engine.scale", "generate", n, path)
      found[n] = one = answer("engine.scale", "measure", path, epochs)
      edges, more = one["edges"], one["peak"] - one["baseline"]
      times = [f"{one['build']:.2f}", f"{one['epoch'] * 1e3:.1f}", f"{one['epoch'] / edges * 1e6:.4f}"]
      rows.append([f"{n:,}", f"{edges:,}", *times, f"{one['peak'] / 2**30:.2f}", f"{more / edges:.0f}"])
  what = f"{N_NEIGHBOURS} neighbours a node, {N_FEATURES} dense features"
  print_table(f"generated graphs, {what}; median of {epochs} epochs", rows)
  print("  build: reads, checks and prepares the user's npz. bytes/edge: peak beyond that of the imports.")


def generate(n_nodes: int, path: Path) -> dict:
  """Writes a random graph as a user's npz file; classes show in the features."""
  import numpy as np

  random = np.random.default_rng(0)
  edges = random.integers(n_nodes, size=(n_nodes * N_NEIGHBOURS // 2, 2), dtype=np.int32)
  labels = random.integers(N_CLASSES, size=n_nodes, dtype=np.int32)
  features = random.random((n_nodes, N_FEATURES), dtype=np.float32)
  features[np.arange(n_nodes), labels] += 1
  chosen = random.permutation(n_nodes)[: 2 * max(N_CLASSES, int(N_LABELLED * n_nodes))]
  train, validation = np.split(chosen, 2)
  np.savez(
    path, edges=edges, directed=False, features=features, labels=labels, train_mask=train, val_mask=validation
  )
  return {}


def measure(path: Path, epochs: int) -> dict:
  """Builds the experiment of the file and trains `epochs` epochs: seconds and bytes."""
  from statistics import median

  from benchmarks.ss_gcn.steps import endless, make_advance
  from vita_jax.papers import ss_gcn
  from vita_jax.papers.ss_gcn.recipe import default_config

  config = default_config("", "none", {})
  config.data.path, config.epochs = str(path), 2**31 - 2
  baseline, start = _peak(), now()
  experiment = endless(ss_gcn.build(config))
  build = since(start).wall
  advance = make_advance(experiment, config)
  advance(1)
  seconds = []
  for _ in range(epochs):
    start = now()
    advance(1)
    seconds.append(since(start).wall)
  graph = experiment.stages[0].data.arrays["graph"]
  edges = int(graph.n_edge[0])
  return {"edges": edges, "build": build, "epoch": median(seconds), "peak": _peak(), "baseline": baseline}


def _peak() -> int:
  """The largest resident set of this process so far, in bytes."""
  found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return found if sys.platform == "darwin" else found * 1024


if __name__ == "__main__":
  action, *rest = sys.argv[1:]
  if action == "generate":
    print(json.dumps(generate(int(rest[0]), Path(rest[1]))))
  else:
    print(json.dumps(measure(Path(rest[0]), int(rest[1]))))
