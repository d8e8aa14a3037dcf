"""One epoch of the GCN: vita_jax, one seed and several at once, against PyTorch Geometric."""

from __future__ import annotations

import contextlib

from benchmarks.measure import interleaved, print_table, worker


def main(*, graph: str = "citeseer", seeds: int = 10, repeats: int = 5, seconds: float = 5.0) -> None:
  many = f"vita_jax, {seeds} seeds at once"
  commands = {
    "PyG, its default form": ("ss_gcn.pyg", graph, "default"),
    "PyG, its fastest form": ("ss_gcn.pyg", graph, "fastest"),
    "vita_jax, 1 seed": ("ss_gcn.steps", graph, 1),
    many: ("ss_gcn.steps", graph, seeds),
  }
  with contextlib.ExitStack() as stack:
    workers = {name: stack.enter_context(worker(*command)) for name, command in commands.items()}
    costs = interleaved(workers, repeats=repeats, seconds=seconds)
    facts = {name: one.facts for name, one in workers.items()}
  costs[many] = costs[many].per(seeds)
  peers = list(costs)[:2]
  header = ["per seed and epoch", "wall ms", "CPU ms", "x PyG default (CPU)", "x PyG fastest (CPU)"]
  rows = [header]
  for name, cost in costs.items():
    ratios = [f"{costs[p].wall / cost.wall:.2f} ({costs[p].cpu / cost.cpu:.2f})" for p in peers]
    rows.append([name, f"{cost.wall * 1e3:.3f}", f"{cost.cpu * 1e3:.3f}", *ratios])
  title = f"GCN on {graph}, training step and validation: medians of {repeats} turns of {seconds:g} s"
  print_table(title, rows)
  for name, fact in facts.items():
    print(f"  {name}: " + ", ".join(f"{k} {v}" for k, v in fact.items()))
