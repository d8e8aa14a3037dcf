"""Writes what a meta-training run needs to continue elsewhere: python launch/l2o/state.py --workdir=W --out=F

F (safetensors, some 150 kB) holds theta, its best, the meta-optimizers' moments and the place in the
curriculum, of the newest good checkpoint. `launch/train.py ... --config.resume_from=F --workdir=NEW`
continues from it, with the same config.inner_steps, over which rates decay. Optimizations in progress are not
in F, they begin again: go on in the workdir itself where it is at hand, bit for bit.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from vita_jax import cli
from vita_jax.papers.l2o import resume
from vita_jax.train.weights import save_params

WORKDIR = cli.define_workdir()
OUT = flags.DEFINE_string("out", None, "File to write.", required=True)


def main() -> None:
  experiment, config, state, _ = cli.finished_run(WORKDIR.value)
  if config.paper != "l2o" or config.experiment != "meta_train" or experiment.replicas:
    raise ValueError(f"{WORKDIR.value} is not a meta-training run of one seed (config.paper=l2o, seeds=1)")
  Path(OUT.value).parent.mkdir(parents=True, exist_ok=True)
  save_params(Path(OUT.value), resume.packed(state))
  size = Path(OUT.value).stat().st_size
  steps, stage = int(state["inner_steps"]), int(state["curriculum"].stage)
  print(f"{OUT.value}: {size / 1e3:.0f} kB, after {steps} inner steps, stage {stage}")


if __name__ == "__main__":
  cli.run(main)
