"""Nettack on test nodes with budget 5: time and memory, beside deeprobust where it is installed."""

from __future__ import annotations

import contextlib

from benchmarks.measure import interleaved, print_table, worker

BUDGET = 5


def main(*, graph: str = "cora", repeats: int = 3, seconds: float = 5.0) -> None:
  ours, both = "vita_jax, links", "vita_jax, links and features"
  with contextlib.ExitStack() as stack:
    workers = {
      ours: stack.enter_context(worker("ss_gcn_attack.steps", graph, BUDGET, "links")),
      both: stack.enter_context(worker("ss_gcn_attack.steps", graph, BUDGET, "both")),
    }
    try:
      peer = worker("ss_gcn_attack.deeprobust_steps", graph, BUDGET)
      workers["deeprobust, links"] = stack.enter_context(peer)
    except RuntimeError as error:
      print(f"without the comparison to deeprobust: {error}")
    costs = interleaved(workers, repeats=repeats, seconds=seconds)
    facts = {name: one.facts for name, one in workers.items()}
  rows = [["per target", "wall ms", "CPU ms", "x vita_jax, links (CPU)"]]
  for name, cost in costs.items():
    ratio = f"{cost.wall / costs[ours].wall:.2f} ({cost.cpu / costs[ours].cpu:.2f})"
    rows.append([name, f"{cost.wall * 1e3:.2f}", f"{cost.cpu * 1e3:.2f}", ratio])
  print_table(f"Nettack on {graph}, {BUDGET} links, and {10 * BUDGET} features where said", rows)
  for name, fact in facts.items():
    print(f"  {name}: " + ", ".join(f"{k} {v}" for k, v in fact.items()))
