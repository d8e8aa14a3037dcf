"""One epoch of the GCN beside PyTorch Geometric, of GMNN and of GraphMix beside torch."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from benchmarks.measure import Cost, interleaved, print_table, worker


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
  title = f"GCN on {graph}, training step and validation: medians of {repeats} turns of {seconds:g} s"
  _print_ratios(title, costs, "PyG")
  for name, fact in facts.items():
    print(f"  {name}: " + ", ".join(f"{k} {v}" for k, v in fact.items()))
  for host in ("gmnn", "graphmix"):
    _compare_host(host, graph, seeds, repeats=repeats, seconds=seconds)


def _print_ratios(title: str, costs: Mapping[str, Cost], peer: str) -> None:
  """Prints costs beside the first two of them, the default and the fastest form of a peer."""
  peers = list(costs)[:2]
  rows = [["per seed and epoch", "wall ms", "CPU ms", f"x {peer} default (CPU)", f"x {peer} fastest (CPU)"]]
  for name, cost in costs.items():
    ratios = [f"{costs[p].wall / cost.wall:.2f} ({costs[p].cpu / cost.cpu:.2f})" for p in peers]
    rows.append([name, f"{cost.wall * 1e3:.3f}", f"{cost.cpu * 1e3:.3f}", *ratios])
  print_table(title, rows)


def _compare_host(host: str, graph: str, seeds: int, *, repeats: int, seconds: float) -> None:
  """Times an epoch of a host in torch, in its fastest form, and here."""
  many = f"vita_jax, {seeds} seeds at once"
  commands = {
    "torch, its default form": ("ss_gcn.torch_hosts", graph, host, "default"),
    "torch, its fastest form": ("ss_gcn.torch_hosts", graph, host, "fastest"),
    "vita_jax, 1 seed": ("ss_gcn.steps", graph, 1, host),
    many: ("ss_gcn.steps", graph, seeds, host),
  }
  with contextlib.ExitStack() as stack:
    workers = {name: stack.enter_context(worker(*command)) for name, command in commands.items()}
    costs = interleaved(workers, repeats=repeats, seconds=seconds)
    facts = workers["torch, its fastest form"].facts
  costs[many] = costs[many].per(seeds)
  _print_ratios(f"{host} on {graph}, training step and validation, as above", costs, "torch")
  print("  torch, its fastest form: " + ", ".join(f"{k} {v}" for k, v in facts.items()))
