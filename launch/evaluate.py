"""Recomputes the final numbers of a finished run: python launch/evaluate.py --workdir=DIR

Fails when they differ from summary.json by more than `--tolerance` (relative).
"""

from __future__ import annotations

import math

import cli
from absl import flags
from train import print_summary

from vita_jax import train
from vita_jax.train.finish import final_report, read_summary
from vita_jax.train.summary import summarize

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
TOLERANCE = flags.DEFINE_float("tolerance", 1e-6, "Relative difference that still counts as equal.")


def main() -> None:
  summary = read_summary(WORKDIR.value)
  if summary is None:
    raise train.RunError(f"{WORKDIR.value} has no summary.json: finish the run with launch/train.py first")
  experiment, _, state, programs = cli.finished_run(WORKDIR.value)
  metrics = {k: summarize(v) for k, v in final_report(experiment, programs, state).metrics.items()}
  print_summary({**summary, "metrics": metrics}, WORKDIR.value)
  pairs = [
    (name, seed, new, old)
    for name, entry in summary["metrics"].items()
    for seed, new, old in zip(summary["seeds"], metrics[name]["values"], entry["values"], strict=True)
  ]
  wrong = [p for p in pairs if not _equal(p[2], p[3])]
  if wrong:
    name, seed, new, old = wrong[0]
    raise train.RunError(
      f"{len(wrong)} of {len(pairs)} numbers differ from summary.json, e.g. {name} of seed {seed}:"
      f" {new} now, {old} there; delete summary.json and run launch/train.py again to rewrite it"
    )
  print(f"equal to summary.json: {len(pairs)} numbers")


def _equal(one: float | None, other: float | None) -> bool:
  if one is None or other is None:
    return one is other
  return math.isclose(one, other, rel_tol=TOLERANCE.value, abs_tol=TOLERANCE.value * 1e-3)


if __name__ == "__main__":
  cli.run(main)
