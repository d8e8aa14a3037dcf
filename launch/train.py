"""Trains one experiment, or resumes it: python launch/train.py --config=FILE[:ARG] --workdir=DIR"""

from __future__ import annotations

import cli
from absl import flags

from vita_jax import train
from vita_jax.train import cluster

CONFIG = cli.define_config()
WORKDIR = cli.define_workdir()
join = cli.define_cluster()
PROFILE = flags.DEFINE_string("profile", None, "Write a profiler trace of the run to this folder.")


def main() -> None:
  import jax

  join()
  if CONFIG.value is None:
    raise ValueError("give --config=FILE, e.g. --config=configs/ss_gcn/citeseer.py:partition")
  config = CONFIG.value
  if PROFILE.value:
    with jax.profiler.trace(PROFILE.value):
      summary = train.run(cli.build(config), config, WORKDIR.value)
  else:
    summary = train.run(cli.build(config), config, WORKDIR.value)
  cli.print_summary(summary, WORKDIR.value)
  cluster.leave()


if __name__ == "__main__":
  cli.run(main)
