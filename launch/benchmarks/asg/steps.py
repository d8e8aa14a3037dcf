"""Worker: fine-tuning steps in vita_jax. Argument: a kind of gpu.KINDS."""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp

from benchmarks.asg.gpu import KINDS, finetuning
from benchmarks.measure import serve
from benchmarks.one_step import repeat
from vita_jax.base.memory import keep_freed_memory


def main(kind: str) -> None:
  keep_freed_memory()  # as launch/train.py does
  assert kind in KINDS
  step, state, batch = finetuning(kind)
  state = {**state, "teacher": jax.tree.map(lambda x: jnp.array(x, copy=True), state["teacher"])}
  advance = repeat(step, state, batch)
  advance(2)
  serve(advance)


if __name__ == "__main__":
  main(sys.argv[1])
