"""Worker: epochs of the GCN through vita_jax's own compiled chunk. Arguments: GRAPH SEEDS."""

from __future__ import annotations

import sys

import jax
import numpy as np

from benchmarks.measure import serve
from vita_jax import train
from vita_jax.papers import ss_gcn
from vita_jax.papers.ss_gcn.recipe import default_config
from vita_jax.train.mesh import make_mesh
from vita_jax.train.programs import make_programs


def endless(experiment: train.Experiment) -> train.Experiment:
  """Returns the same steps without early stop, so that every step trains."""
  stages = tuple(s._replace(done=train.never, steps=2**31 - 1) for s in experiment.stages)
  return experiment._replace(stages=stages)


def make_advance(experiment: train.Experiment, config):
  """Returns `advance(n)`: `n` further steps of the first stage, in one call of the compiled chunk."""
  programs = make_programs(experiment, make_mesh(config.mesh), on_nonfinite="stop")
  seeds = np.arange(experiment.replicas or 1, dtype=np.uint32)
  seeds = programs.place(seeds if experiment.replicas else seeds[0])
  stage = experiment.stages[0]
  carry = programs.init(seeds), programs.cursor()
  chunk = programs.chunk(stage, carry[0])

  def advance(n: int) -> None:
    nonlocal carry
    state, cursor = carry
    until = programs.place(np.int32(int(cursor.at) + n))
    state, cursor, _ = chunk(state, seeds, cursor, until)
    carry = jax.block_until_ready((state, cursor))

  return advance


def main(name: str, n_seeds: int) -> None:
  config = default_config(name, "none", {})
  config.epochs = 2**31 - 2
  experiment = endless(ss_gcn.build(config))
  advance = make_advance(train.replicate(experiment, n_seeds) if n_seeds > 1 else experiment, config)
  advance(3)
  serve(advance, features=type(experiment.stages[0].data.arrays["features"]).__name__)


if __name__ == "__main__":
  main(sys.argv[1], int(sys.argv[2]))
