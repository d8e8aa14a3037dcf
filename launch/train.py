"""Trains one experiment, or resumes it: python launch/train.py --config=FILE[:ARGUMENT] --workdir=FOLDER

  python launch/train.py --config=configs/ss_gcn/citeseer.py:partition --config.seeds=10 --workdir=runs/par
  python launch/train.py --config=configs/ss_gcn/citeseer.py:partition --explain
  python launch/train.py --config=... --workdir=... --dry_run --cpu_devices=16 --config.mesh.seed=16

The same command resumes a run that was stopped, or says that it is complete. --dry_run tells what each device
would need, without running anything. Over several processes: launch/cluster/README.md.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

from absl import flags

from vita_jax import cli, train
from vita_jax.train import cluster, dry_run
from vita_jax.train.mesh import make_mesh

CONFIG = cli.define_config()
WORKDIR = cli.define_workdir(required=False)
join = cli.define_cluster()
EXPLAIN = flags.DEFINE_bool("explain", False, "Print what every key of the config means, and run nothing.")
flags.register_multi_flags_validator(
  ["workdir", "explain"],
  lambda given: given["explain"] or given["workdir"],
  "--workdir is missing: give --workdir=FOLDER, where the run is written and resumed",
)
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Compile for the mesh, print memory and FLOPs, run nothing.")
PROFILE = flags.DEFINE_string("profile", None, "Write a profiler trace of the run to this folder.")


def main() -> None:
  import jax

  config = CONFIG.value
  if EXPLAIN.value:
    print(cli.explain(config))
    return
  join()
  if cluster.joined() and cluster.is_main():
    print(f"{jax.process_count()} processes with {jax.device_count()} devices", file=sys.stderr, flush=True)
  if DRY_RUN.value:
    print(dry_run.table(dry_run.dry_run(cli.build(config), config), make_mesh(config.mesh).shape))
    return
  with profiled(PROFILE.value):
    summary = train.run(cli.build(config), config, WORKDIR.value)
  cli.print_summary(summary, WORKDIR.value)
  cluster.leave()


def profiled(folder: str | None) -> contextlib.AbstractContextManager:
  """Returns the profiler of what runs inside, if `folder` is given: JAX writes the trace at the end.

  Raises:
    ValueError: now, before anything runs, if the folder cannot be written to.
  """
  if not folder:
    return contextlib.nullcontext()
  import jax

  try:
    Path(folder).mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
  except OSError as error:
    remedy = "give a folder that you can write to"
    raise ValueError(f"cannot write to --profile={folder} ({error.strerror}): {remedy}") from error
  return jax.profiler.trace(folder)


if __name__ == "__main__":
  cli.run(main)
