"""Worker: slimming steps in vita_jax, or matrix products. Argument: a kind of gpu.KINDS, or "matmul"."""

from __future__ import annotations

import sys
from collections.abc import Callable

from benchmarks.arithmetic import PRODUCT, multiply
from benchmarks.gan_slimming.gpu import KINDS, SMALL, slimming
from benchmarks.measure import serve
from benchmarks.one_step import repeat
from vita_jax.base.memory import keep_freed_memory
from vita_jax.compress import count_macs
from vita_jax.nn.gan import PatchDiscriminator, ResnetGenerator, resnet_widths


def flops() -> int:
  """Counts the floating-point operations of a step's convolutions, 2 for each multiply-add.

  The student runs forward and backward (3 times its forward), the teacher forward; the discriminator scores
  the student's pictures and passes the gradient on to them (2), and learns from 2 x 8 pictures (6 / 2 each).
  """
  side, pictures = SMALL["data.crop"], 8
  generator = ResnetGenerator(resnet_widths(SMALL["generator.base"], SMALL["generator.blocks"]))
  discriminator = count_macs(PatchDiscriminator(SMALL["discriminator.width"]).layers, side, side)
  return 2 * pictures * (4 * count_macs(generator.layers, side, side) + (2 + 2 * 3) * discriminator)


def make(kind: str) -> tuple[Callable[[int], None], dict[str, int]]:
  """Returns `run(n)` and the facts of a worker."""
  if kind == "matmul":
    return multiply(), {"flops": PRODUCT}
  return repeat(*slimming(kind, SMALL)), {"flops": flops()}


def main(kind: str) -> None:
  keep_freed_memory()  # as launch/train.py does
  assert kind == "matmul" or kind in KINDS
  run, facts = make(kind)
  run(2)
  serve(run, **facts)


if __name__ == "__main__":
  main(sys.argv[1])
