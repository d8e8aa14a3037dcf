"""Worker: stylises a picture of 256 x 256 by a random generator. Argument: "dense", "small" or "int8"."""

from __future__ import annotations

import sys

import jax
import numpy as np

from benchmarks.gan_slimming.gpu import SMALL
from benchmarks.measure import serve
from vita_jax.base.memory import keep_freed_memory
from vita_jax.compress import Quant, count_macs, counts_of, integer_program, search_threshold, shrink
from vita_jax.nn.gan import ResnetGenerator, resnet_widths

SIDE, SHARE = 256, 0.35


def main(kind: str) -> None:
  keep_freed_memory()
  generator = ResnetGenerator(resnet_widths(SMALL["generator.base"], SMALL["generator.blocks"]), form="top")
  image = np.random.default_rng(0).uniform(-1, 1, (1, SIDE, SIDE, 3)).astype(np.float32)
  params = jax.device_get(generator.init(jax.random.key(0), image)["params"])
  dense = count_macs(generator.layers, SIDE, SIDE)
  if kind != "dense":
    rng, graph = np.random.default_rng(1), generator.channel_graph()
    for group in graph:
      layer = str(group.scale).split("/")[0]
      params[layer]["scale"] = rng.uniform(0.01, 1, params[layer]["scale"].shape).astype(np.float32)

    def cost(counts: dict[str, int]) -> float:
      return count_macs(generator.resized(counts).layers, SIDE, SIDE)

    threshold, _ = search_threshold(params, graph, cost, SHARE * dense)
    params, kept = shrink(params, graph, threshold=threshold)
    generator = generator.resized(counts_of(kept))
  if kind == "int8":
    program, params = integer_program(generator.clone(quant=Quant()), {"params": params})
  else:

    def program(params, image):
      return generator.apply({"params": params}, image)

  run, params = jax.jit(program), jax.device_put(params)

  def several(n: int) -> None:
    for _ in range(n):
      run(params, image).block_until_ready()

  several(2)
  serve(several, share=count_macs(generator.layers, SIDE, SIDE) / dense)


if __name__ == "__main__":
  main(sys.argv[1])
