"""Trains one experiment, or resumes it: python launch/train.py --config=FILE[:ARG] --workdir=DIR"""

from __future__ import annotations

import cli
from absl import flags

from vita_jax import train
from vita_jax.train.summary import format_metric

CONFIG = cli.define_config()
WORKDIR = cli.define_workdir()
PROFILE = flags.DEFINE_string("profile", None, "Write a profiler trace of the run to this folder.")


def main() -> None:
  import jax

  if CONFIG.value is None:
    raise ValueError("give --config=FILE, e.g. --config=configs/ss_gcn/citeseer.py:partition")
  config = CONFIG.value
  if PROFILE.value:
    with jax.profiler.trace(PROFILE.value):
      summary = train.run(cli.build(config), config, WORKDIR.value)
  else:
    summary = train.run(cli.build(config), config, WORKDIR.value)
  print_summary(summary, WORKDIR.value)


def print_summary(summary: dict, workdir: str) -> None:
  """The final numbers as a small table, and where they were written."""
  print(f"complete: {summary['experiment']}, {len(summary['seeds'])} seed(s), {summary['seconds']:.1f} s of training")
  width = max(len(name) for name in summary["metrics"])
  for name, entry in summary["metrics"].items():
    print(f"  {name:<{width}}  {format_metric(entry, percent=name.endswith('accuracy'))}")
  print(f"written: {workdir}/summary.json, metrics.jsonl, figures/, export/, checkpoints/, tensorboard/")


if __name__ == "__main__":
  cli.run(main)
