"""Worker: epochs of a host through vita_jax's own compiled chunk. Arguments: GRAPH SEEDS [HOST]."""

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


def make_advance(experiment: train.Experiment, config, *, stage: int = 0):
  """Returns `advance(n)`: `n` further steps of a stage, in one call of the compiled chunk."""
  programs = make_programs(experiment, make_mesh(config.mesh), on_nonfinite="stop")
  seeds = np.arange(experiment.replicas or 1, dtype=np.uint32)
  seeds = programs.place(seeds if experiment.replicas else seeds[0])
  state = programs.init(seeds)
  for one in (stages := experiment.stages[: stage % len(experiment.stages) + 1]):
    state = programs.enter(one, state)
  carry = state, programs.cursor()
  chunk = programs.chunk(stages[-1], state)

  def advance(n: int) -> None:
    nonlocal carry
    state, cursor = carry
    until = programs.place(np.int32(int(cursor.at) + n))
    state, cursor, _ = chunk(state, seeds, cursor, until)
    carry = jax.block_until_ready((state, cursor))

  return advance


def main(name: str, n_seeds: int, host: str = "gcn") -> None:
  config = default_config(name, "none", {})
  config.host = host
  config.epochs = config.graphmix.epochs = config.gmnn.epochs = 2**31 - 2
  experiment = endless(ss_gcn.build(config))
  # The last stage: of GMNN, the network of features on what the other one says.
  advance = make_advance(
    train.replicate(experiment, n_seeds) if n_seeds > 1 else experiment, config, stage=-1
  )
  advance(3)
  serve(advance, features=type(experiment.stages[0].data.arrays["features"]).__name__)


if __name__ == "__main__":
  main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
