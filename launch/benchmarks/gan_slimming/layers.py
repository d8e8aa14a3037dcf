"""Process: forward and backward of each layer of the small generator in each form; prints a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.gan_slimming.gpu import PICTURES, SMALL
from benchmarks.gan_slimming.steps import MATRIX
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


def gradients(layer: Layer, height: int, width: int, form: str) -> Callable[[], Any]:
  """Returns a call that computes the gradients of a layer in its input and its parameters."""
  module = ConvLayer(layer, form=form)
  x = jax.random.normal(jax.random.key(0), (PICTURES, height, width, layer.inputs))
  params = module.init(jax.random.key(1), x)["params"]
  y = jax.eval_shape(module.apply, {"params": params}, x)
  weight = jax.random.normal(jax.random.key(2), y.shape)

  def loss(params: Any, x: jax.Array) -> jax.Array:
    return jnp.sum(module.apply({"params": params}, x) * weight)

  compiled = jax.jit(jax.grad(loss, argnums=(0, 1)))
  return lambda: jax.block_until_ready(compiled(params, x))


def main() -> None:
  keep_freed_memory()  # as launch/train.py does
  x = jnp.ones((MATRIX, MATRIX))
  product = jax.jit(lambda x: x @ x)
  rate = 2 * MATRIX**3 / fastest(lambda: product(x).block_until_ready())
  rows = []
  for network, layers in networks().items():
    height = width = SMALL["data.crop"]
    for layer, cost in zip(layers, layer_costs(layers, height, width), strict=True):
      flops = 2 * 3 * PICTURES * cost.macs
      seconds = {form: fastest(gradients(layer, height, width, form)) for form in FORMS}
      rows.append({"network": network, "layer": layer.name, "flops": flops, "seconds": seconds})
      height, width = cost.height, cost.width
  print(json.dumps({"rate": rate, "rows": rows}))


if __name__ == "__main__":
  main()
