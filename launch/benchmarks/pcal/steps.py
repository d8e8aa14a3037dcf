"""Worker: outer steps of the PCAL game through vita_jax's own compiled chunk. Arguments: suite|peer SEEDS.

"suite": the settings of the suite (four adversaries, five steps of each, restarts). "peer": what fairlearn
trains (one adversary, one step of it for each of the predictor, no restarts).
"""

from __future__ import annotations

import sys
import time

import jax
import numpy as np

from benchmarks.measure import serve
from vita_jax import train
from vita_jax.papers import pcal
from vita_jax.papers.pcal.recipe import default_config
from vita_jax.train.mesh import make_mesh
from vita_jax.train.programs import make_programs

ENDLESS = 10**8


def make_config(kind: str):
  config = default_config("credit/taiwan", ("limit_high",))
  config.update({"pretrain_steps": 0, "steps": ENDLESS})
  if kind == "peer":
    config.adversary.update({"widths": ((64, 64),), "steps": 1})
    config.restart.every = 0
    config.loss = "neg_xent"
  return config


def main(kind: str, n_seeds: int) -> None:
  config = make_config(kind)
  experiment = pcal.build(config)
  if n_seeds > 1:
    experiment = train.replicate(experiment, n_seeds)
  programs, stage = (
    make_programs(experiment, make_mesh(config.mesh), on_nonfinite="stop"),
    experiment.stages[0],
  )
  seeds = programs.place(np.arange(n_seeds, dtype=np.uint32) if n_seeds > 1 else np.uint32(0))
  started = time.perf_counter()
  state = programs.enter(stage, programs.init(seeds))
  chunk = programs.chunk(stage, state)
  carry = [state, programs.cursor()]

  def run(n: int) -> None:
    state, cursor = carry
    until = programs.place(np.int32(int(cursor.at) + n))
    state, cursor, _ = chunk(state, seeds, cursor, until)
    carry[:] = jax.block_until_ready((state, cursor))

  run(1)
  serve(run, compile_seconds=round(time.perf_counter() - started, 1), batch=config.batch_size)


if __name__ == "__main__":
  main(sys.argv[1], int(sys.argv[2]))
