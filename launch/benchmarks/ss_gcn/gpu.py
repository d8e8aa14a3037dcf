"""The step of SS-GCN that `make gpu` times: an epoch on Citeseer, replicated."""

from __future__ import annotations

from benchmarks.one_step import Step, of_config


def steps(*, small: bool) -> list[Step]:
  """Returns the steps; `small`: for a CPU."""
  seeds = 2 if small else 64
  return [Step(f"ss_gcn, Citeseer, {seeds} seeds", of_config("ss_gcn/citeseer.py:none", seeds=seeds))]
