"""Recomputes the final numbers of a finished run: python launch/evaluate.py --workdir=DIR

Fails when they differ from summary.json by more than `--tolerance` (relative).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from absl import flags

from vita_jax import cli, train
from vita_jax.train import cluster
from vita_jax.train.finish import final_metrics, final_report, read_summary

WORKDIR = cli.define_workdir()
TOLERANCE = flags.DEFINE_float("tolerance", 1e-6, "Relative difference that counts as equal.", lower_bound=0)
limits = cli.define_watchdog()
flags.register_validator("tolerance", math.isfinite, "--tolerance must be a finite number")


def main() -> None:
  cluster.start_watchdog(**limits())
  summary = read_summary(WORKDIR.value)
  if summary is None:
    raise train.RunError(f"{WORKDIR.value} has no summary.json: finish the run with launch/train.py first")
  experiment, config, state, programs = cli.finished_run(WORKDIR.value)
  seeds = list(range(config.seed, config.seed + config.seeds))
  if summary["seeds"] != seeds or not set(summary["frozen"]) <= set(seeds):
    raise train.RunError(
      f"summary.json in {WORKDIR.value} is of other seeds than its config.json: it was edited; delete it and"
      " run launch/train.py again to rewrite it"
    )
  frozen = [seed - config.seed for seed in summary["frozen"]]
  metrics = final_metrics(final_report(experiment, programs, state), frozen)
  cli.print_metrics({**summary, "metrics": metrics})
  new, old = dict(_numbers(metrics)), dict(_numbers(summary["metrics"]))
  wrong = [name for name in sorted(new | old) if not _equal(new.get(name, "none"), old.get(name, "none"))]
  if wrong:
    raise train.RunError(
      f"{len(wrong)} of {len(new | old)} numbers differ from summary.json, e.g. {wrong[0]}:"
      f" {new.get(wrong[0], 'none')} now, {old.get(wrong[0], 'none')} there; delete summary.json and run"
      " launch/train.py again to rewrite it"
    )
  print(f"equal to summary.json: {len(new)} numbers")


def _numbers(metrics: dict[str, Any]) -> Iterator[tuple[str, Any]]:
  """("test_accuracy mean", 0.7), ... ("test_accuracy values[0]", 0.71), ..."""
  for name, entry in metrics.items():
    for key, value in entry.items():
      if isinstance(value, list):
        yield from ((f"{name} {key}[{i}]", number) for i, number in enumerate(value))
      else:
        yield f"{name} {key}", value


def _equal(one: Any, other: Any) -> bool:
  if not (isinstance(one, int | float) and isinstance(other, int | float)):
    return one == other
  return math.isclose(one, other, rel_tol=TOLERANCE.value, abs_tol=TOLERANCE.value * 1e-3)


if __name__ == "__main__":
  cli.run(main)
