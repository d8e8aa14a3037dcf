"""Process: forward and backward of each layer of the small generator by itself; prints a line of JSON.

Layers of stride 1 get a picture that is mirrored at its borders already, so they have no padding themselves.
"native" is the library's convolution as it is, "seconds" what a step on the CPU has (`vita_jax.nn.conv`).
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks.arithmetic import layer_gradients, matrix_rate
from benchmarks.measure import fastest
from vita_jax.base.memory import keep_freed_memory
from vita_jax.nn.conv import Conv, ConvTranspose

BATCH, WIDTH = 4, 12
# name -> (side, inputs, outputs, kernel, stride, transposed, how many of a step's forward pass)
LAYERS = {
  "encoder of pictures, 7x7": (64, 3, WIDTH, 7, 1, False, 1),
  "encoder of heat maps, 7x7": (64, 42, WIDTH, 7, 1, False, 1),
  "encoder of depth, 7x7": (64, 6, WIDTH, 7, 1, False, 1),
  "encoders, first that halves": (64, WIDTH, 2 * WIDTH, 3, 2, False, 3),
  "encoders, second that halves": (32, 2 * WIDTH, 4 * WIDTH, 3, 2, False, 3),
  "blocks, 3x3 48 to 48": (16, 4 * WIDTH, 4 * WIDTH, 3, 1, False, 10),
  "blocks, 3x3 96 to 96": (16, 8 * WIDTH, 8 * WIDTH, 3, 1, False, 4),
  "blocks, 3x3 96 to 48": (16, 8 * WIDTH, 4 * WIDTH, 3, 1, False, 4),
  "decoder, first that doubles": (16, 4 * WIDTH, 2 * WIDTH, 3, 2, True, 1),
  "decoder, second that doubles": (32, 2 * WIDTH, WIDTH, 3, 2, True, 1),
  "decoder, 7x7": (64, WIDTH, 3, 7, 1, False, 1),
}


def layer(outputs: int, kernel: int, stride: int, transposed: bool, form: str) -> Any:
  """Makes a layer as the generator has it."""
  options: dict[str, Any] = {"use_bias": False, "form": form}
  if transposed:
    return ConvTranspose(outputs, kernel, stride, 1, output_padding=1, **options)
  return Conv(outputs, kernel, stride, 0 if stride == 1 else kernel // 2, **options)


def main() -> None:
  keep_freed_memory()  # as launch/train.py does
  rate, rows = matrix_rate(), []
  for name, (side, inputs, outputs, kernel, stride, transposed, count) in LAYERS.items():
    places = side**2 if transposed else (side // stride) ** 2
    flops = 2 * 3 * BATCH * places * kernel**2 * inputs * outputs
    given = side + kernel - 1 if stride == 1 else side
    shape = (BATCH, given, given, inputs)
    seconds, native = (
      fastest(layer_gradients(layer(outputs, kernel, stride, transposed, form), shape))
      for form in ("top", "native")
    )
    rows.append({"layer": name, "flops": flops, "seconds": seconds, "native": native, "count": count})
  print(json.dumps({"rate": rate, "rows": rows}))


if __name__ == "__main__":
  main()
