"""Prints, as JSON, what each convolution of EfficientNet-Lite0 costs by itself, forward and backward."""

from __future__ import annotations

import json
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.asg.gpu import BATCH, SIDE
from benchmarks.measure import fastest
from vita_jax.base.memory import keep_freed_memory
from vita_jax.nn.conv import convolve
from vita_jax.nn.efficientnet import GROUPS, LAST, STEM

FORMS = ("top", "native")


def layers() -> Iterator[tuple[str, int, int, int, int, int, bool]]:
  """Yields (name, side, inputs, outputs, kernel, stride, depthwise) of every convolution."""
  yield "stem", SIDE, 3, STEM, 3, 2, False
  side, inputs, block = SIDE // 2, STEM, 0
  for size, first, expansion, outputs, repeats in GROUPS:
    for i in range(repeats):
      stride, inner = first if i == 0 else 1, inputs * expansion
      if expansion > 1:
        yield f"block_{block}/expand", side, inputs, inner, 1, 1, False
      yield f"block_{block}/depthwise", side, inner, inner, size, stride, True
      side = -(-side // stride)
      yield f"block_{block}/project", side, inner, outputs, 1, 1, False
      inputs, block = outputs, block + 1
  yield "last", side, inputs, LAST, 1, 1, False


def main() -> None:
  keep_freed_memory()  # as launch/train.py does
  rng, rows = np.random.default_rng(0), []
  for name, side, inputs, outputs, size, stride, depthwise in layers():
    x = jnp.asarray(rng.normal(size=(BATCH, side, side, inputs)), jnp.float32)
    kernel = (size, size, 1 if depthwise else inputs, outputs)
    w = jnp.asarray(rng.normal(size=kernel), jnp.float32)
    seconds = {}
    for form in FORMS:

      def loss(x: jax.Array, w: jax.Array, form: str = form) -> jax.Array:
        groups = inputs if depthwise else 1  # noqa: B023
        y = convolve(x, w, stride=stride, padding="SAME", groups=groups, form=form)  # noqa: B023
        return jnp.sum(jnp.square(y))

      both = jax.jit(jax.grad(loss, argnums=(0, 1)))
      seconds[form] = fastest(lambda: jax.block_until_ready(both(x, w)))  # noqa: B023
    rows.append({"layer": name, "depthwise": depthwise, "seconds": seconds})
  print(json.dumps(rows))


if __name__ == "__main__":
  main()
