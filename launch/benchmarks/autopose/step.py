"""Worker: a training step of AutoPose on figures. Argument: a kind of `KINDS`."""

from __future__ import annotations

import sys

from benchmarks.measure import serve
from benchmarks.one_step import of_config

WARM = 300  # steps of the search's warm start, which are not measured
# kind -> (config, its stage)
KINDS = {
  "search": ("configs/autopose/figures.py:search", 0),
  "train": ("configs/autopose/figures.py:retrain:all_edges", 0),
}


def main(kind: str) -> None:
  """Serves steps; those of a search follow its rounds, with their share of scoring."""
  import jax
  import jax.numpy as jnp

  from vita_jax.base.memory import keep_freed_memory

  keep_freed_memory()  # as launch/train.py does
  config, stage = KINDS[kind]
  step, state, batch = of_config(config, stage=stage, **{"data.count": (200, 20)})()
  run = jax.jit(lambda state, batch, t: step(state, batch, t)[0], donate_argnums=0)
  batch, t = jax.device_put(batch), 0

  def advance(n: int) -> None:
    nonlocal state, t
    for _ in range(n):
      state, t = run(state, batch, jnp.int32(WARM + t % 100)), t + 1
    jax.block_until_ready(state)

  advance(2)
  serve(advance)


if __name__ == "__main__":
  main(sys.argv[1])
