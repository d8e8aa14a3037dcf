"""Process: forward and backward of each layer of the small generator by itself; prints a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.measure import fastest
from benchmarks.mm_hand.step import MATRIX
from vita_jax.base.memory import keep_freed_memory
from vita_jax.nn.conv import Conv, ConvTranspose

BATCH, WIDTH = 4, 12
# name -> (side, inputs, outputs, kernel, stride, transposed, how many of a step's forward pass)
LAYERS = {
  "encoders, 7x7, 51 in all": (64, 51, WIDTH, 7, 1, False, 1),
  "encoders, first that halves": (64, WIDTH, 2 * WIDTH, 3, 2, False, 3),
  "encoders, second that halves": (32, 2 * WIDTH, 4 * WIDTH, 3, 2, False, 3),
  "blocks, 3x3 48 to 48": (16, 4 * WIDTH, 4 * WIDTH, 3, 1, False, 10),
  "blocks, 3x3 96 to 96": (16, 8 * WIDTH, 8 * WIDTH, 3, 1, False, 4),
  "blocks, 3x3 96 to 48": (16, 8 * WIDTH, 4 * WIDTH, 3, 1, False, 4),
  "decoder, first that doubles": (16, 4 * WIDTH, 2 * WIDTH, 3, 2, True, 1),
  "decoder, second that doubles": (32, 2 * WIDTH, WIDTH, 3, 2, True, 1),
  "decoder, 7x7": (64, WIDTH, 3, 7, 1, False, 1),
}


def gradients(
  side: int, inputs: int, outputs: int, kernel: int, stride: int, transposed: bool
) -> Callable[[], Any]:
  """Returns a call that computes the gradients of a layer in its input and its kernel."""
  options: dict[str, Any] = {"use_bias": False, "form": "top"}
  if transposed:
    net: Any = ConvTranspose(outputs, kernel, stride, 1, output_padding=1, **options)
  else:
    net = Conv(outputs, kernel, stride, kernel // 2, **options)
  x = jax.random.normal(jax.random.key(0), (BATCH, side, side, inputs))
  params = net.init(jax.random.key(1), x)["params"]
  weight = jax.random.normal(jax.random.key(2), jax.eval_shape(net.apply, {"params": params}, x).shape)

  def loss(params: Any, x: jax.Array) -> jax.Array:
    return jnp.sum(net.apply({"params": params}, x) * weight)

  compiled = jax.jit(jax.grad(loss, argnums=(0, 1)))
  return lambda: jax.block_until_ready(compiled(params, x))


def main() -> None:
  keep_freed_memory()  # as launch/train.py does
  x = jnp.ones((MATRIX, MATRIX))
  product = jax.jit(lambda x: x @ x)
  rate = 2 * MATRIX**3 / fastest(lambda: product(x).block_until_ready())
  rows = []
  for name, (side, inputs, outputs, kernel, stride, transposed, count) in LAYERS.items():
    places = side**2 if transposed else (side // stride) ** 2
    flops = 2 * 3 * BATCH * places * kernel**2 * inputs * outputs
    seconds = fastest(gradients(side, inputs, outputs, kernel, stride, transposed))
    rows.append({"layer": name, "flops": flops, "seconds": seconds, "count": count})
  print(json.dumps({"rate": rate, "rows": rows}))


if __name__ == "__main__":
  main()
