"""Worker: fine-tuning steps in vita_jax. Argument: a kind of gpu.KINDS."""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp

from benchmarks.asg.gpu import KINDS, finetuning
from benchmarks.measure import serve
from vita_jax.base.memory import keep_freed_memory


def main(kind: str) -> None:
  keep_freed_memory()  # as launch/train.py does
  assert kind in KINDS
  step, state, batch = finetuning(kind)
  run = jax.jit(lambda state, batch, t: step(state, batch, t)[0], donate_argnums=0)
  state = {**state, "teacher": jax.tree.map(lambda x: jnp.array(x, copy=True), state["teacher"])}
  batch, t = jax.device_put(batch), 0

  def advance(n: int) -> None:
    nonlocal state, t
    for _ in range(n):
      state, t = run(state, batch, jnp.int32(t)), t + 1
    jax.block_until_ready(state)

  advance(2)
  serve(advance)


if __name__ == "__main__":
  main(sys.argv[1])
