"""Worker: steps of MM-Hand. Argument: "step", all of it; "maps", the guidance maps of a step; or "matmul"."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp

from benchmarks.arithmetic import multiply
from benchmarks.measure import serve
from benchmarks.mm_hand.gpu import SMALL, sticks, training
from benchmarks.one_step import repeat
from vita_jax.base.memory import keep_freed_memory
from vita_jax.papers.mm_hand.guidance import Pose, analytic_depth, streams_of
from vita_jax.papers.mm_hand.recipe import default_config, recipe_of


def make(kind: str) -> Callable[[int], None]:
  """Returns `run(n)`."""
  if kind == "matmul":
    return multiply()
  if kind == "maps":
    config = default_config()
    config.update_from_flattened_dict({"loss.net": "off", **SMALL})
    recipe, hands = recipe_of(config), sticks(SMALL["data.size"])
    source = jnp.zeros((4, *hands["image"].shape[1:]))
    first, second = (Pose(hands["uv"][i : i + 4], hands["xyz"][i : i + 4, :, 2]) for i in (0, 4))
    maps = jax.jit(functools.partial(streams_of, recipe, depth=functools.partial(analytic_depth, recipe)))

    def draw(n: int) -> None:
      for _ in range(n):
        jax.block_until_ready(maps(source, first, second))

    return draw
  return repeat(*training("mm_hand", SMALL))


def main(kind: str) -> None:
  keep_freed_memory()  # as launch/train.py does
  run = make(kind)
  run(2)
  serve(run)


if __name__ == "__main__":
  main(sys.argv[1])
