"""Nettack on many targets: seconds of each, and the memory that all take; no other tool beside it."""

from __future__ import annotations

import resource
import time

from benchmarks.measure import print_table


def main(*, graph: str, targets: int, budget: int) -> None:
  import numpy as np

  from vita_jax.attacks import nettack, surrogate
  from vita_jax.data import load_graph

  data = load_graph(graph)
  weight = surrogate.train_surrogate(data)
  start = time.perf_counter()
  view = nettack.prepare(data, weight)
  prepared = time.perf_counter() - start
  nodes = np.flatnonzero(data.test_mask)[:targets]
  wall, cpu = time.perf_counter(), time.process_time()
  for node in nodes.tolist():
    nettack.nettack(view, node, int(data.labels[node]), n_links=budget, n_words=10 * budget)
  wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 2**30
  row = ["vita_jax", f"{wall / len(nodes) * 1e3:.2f}", f"{cpu / len(nodes) * 1e3:.2f}", f"{peak:.2f}"]
  title = f"Nettack on {len(nodes)} nodes of {graph}, {budget} links and {10 * budget} features each"
  print_table(title, [["per target", "wall ms", "CPU ms", "peak GiB"], row])
  print(f"  prepared once for all targets in {prepared:.2f} s; peak: of the whole process, jax included")
