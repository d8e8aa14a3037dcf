"""Process: forward and backward of each layer of the small generator in each form; prints a line of JSON."""

from __future__ import annotations

import json

from benchmarks.arithmetic import layer_gradients, matrix_rate
from benchmarks.gan_slimming.gpu import PICTURES, SMALL
from benchmarks.measure import fastest
from vita_jax.base.memory import keep_freed_memory
from vita_jax.compress.counts import layer_costs
from vita_jax.nn.gan import PatchDiscriminator, ResnetGenerator, resnet_widths
from vita_jax.nn.layers import ConvLayer, Layer

FORMS = ("top", "loop")


def networks() -> dict[str, tuple[Layer, ...]]:
  """Returns the tables of both networks; of the residual blocks the first alone, the others are like it."""
  generator = ResnetGenerator(resnet_widths(SMALL["generator.base"], 1))
  return {
    "generator": generator.layers,
    "discriminator": PatchDiscriminator(SMALL["discriminator.width"]).layers,
  }


def main() -> None:
  keep_freed_memory()  # as launch/train.py does
  rate, rows = matrix_rate(), []
  for network, layers in networks().items():
    height = width = SMALL["data.crop"]
    for layer, cost in zip(layers, layer_costs(layers, height, width), strict=True):
      flops = 2 * 3 * PICTURES * cost.macs
      shape = (PICTURES, height, width, layer.inputs)
      seconds = {form: fastest(layer_gradients(ConvLayer(layer, form=form), shape)) for form in FORMS}
      rows.append({"network": network, "layer": layer.name, "flops": flops, "seconds": seconds})
      height, width = cost.height, cost.width
  print(json.dumps({"rate": rate, "rows": rows}))


if __name__ == "__main__":
  main()
