"""Worker: the meta-gradient of a segment. Arguments: KIND | matmul | memory KIND PARAMETERS SAVE_EVERY.

A unit is the mean gradient of a segment of 20 steps over 8 MNIST-sized networks (784-20-10, batch 128). The
images are random: MNIST itself is not needed for its cost.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.measure import serve
from vita_jax.optim import KINDS, segment
from vita_jax.optim.optimizees import CLASSES, optimizee
from vita_jax.papers.l2o import tasks

NETWORKS, STEPS, BATCH = 8, 20, 128
WEIGHTS = 784 * 20 + 20 + 20 * CLASSES + CLASSES
# Products of a coordinate's forward pass with the matrices that all coordinates share.
PRODUCTS = {
  "l2o_dm": 22 * 80 + 40 * 80 + 20,
  "rnnprop": 2 * 20 + 2 * 40 * 80 + 20,
  "l2o_mlp": 8 * 32 + 32 * 32 + 32 * 2,
  "l2o_scale": 22 * 30 + 4 * 10,
  "vita_mlp": 6 * 8 + 8 * 8 + 8 * 5,
}
MATMUL = 2048


def useful_flops(products: int) -> float:
  """Counts those of a unit: three times the forward pass, two for each of a coordinate's products."""
  return 3.0 * 2 * products * WEIGHTS * NETWORKS * STEPS


def images(n: int = 10_000) -> dict[str, jax.Array]:
  """Draws random arrays in the form of the MNIST split that optimizers are evaluated on."""
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (n, 28, 28, 1), np.uint8)
  return jax.device_put({"image": pixels, "label": rng.integers(0, CLASSES, n).astype(np.int32)})


def main(kind: str) -> None:
  problem = tasks.problem(optimizee("mnist_mlp"), batch_size=BATCH, kind=kind)
  theta, arrays = KINDS[kind].init_theta(jax.random.key(0)), images()

  def one(theta, key, arrays):

    def build(theta):
      return problem.build(theta, key)

    x = problem.init(key)
    keys = jax.random.split(key, STEPS + 1)
    found = segment.self_training(build, theta, problem.loss(arrays), x, build(theta).init(x), keys)
    return found.gradient

  @jax.jit
  def meta_gradient(theta, keys, arrays):
    gradients = jax.lax.map(lambda key: one(theta, key, arrays), keys)
    return jax.tree.map(lambda g: jnp.mean(g, axis=0), gradients)

  serve_segment(meta_gradient, theta, arrays, gflop=useful_flops(PRODUCTS[kind]) / 1e9)


def serve_segment(meta_gradient: Callable, theta: Any, arrays: Any, *, gflop: float) -> None:
  """Serves `meta_gradient(theta, keys [NETWORKS], arrays)`; the first call, which compiles, is timed."""
  keys = jax.random.split(jax.random.key(1), NETWORKS)

  def run(n):
    for _ in range(n):
      jax.block_until_ready(meta_gradient(theta, keys, arrays))

  start = time.perf_counter()
  run(1)
  serve(run, first_call=time.perf_counter() - start, gflop=gflop)


def matmul() -> None:
  """Times a product of two square matrices: the rate to compare with."""
  product = jax.jit(jnp.matmul)
  a = jnp.ones((MATMUL, MATMUL))
  jax.block_until_ready(product(a, a))
  serve(lambda n: [jax.block_until_ready(product(a, a)) for _ in range(n)], gflop=2 * MATMUL**3 / 1e9)


def memory(kind: str, parameters: int, save_every: int) -> None:
  """Prints the bytes that the compiled segment of one network with about so many parameters needs beside its
  arguments; nothing is run."""
  theta = jax.eval_shape(KINDS[kind].init_theta, jax.random.key(0))
  x = jax.ShapeDtypeStruct((parameters,), jnp.float32)

  def gradient(theta, x, key):
    build = KINDS[kind].build

    def loss(x, key):
      return jnp.mean((x - jax.random.normal(key)) ** 2)

    keys = jax.random.split(key, STEPS + 1)
    return segment.self_training(
      build, theta, loss, x, build(theta).init(x), keys, save_every=save_every
    ).gradient

  key = jax.eval_shape(lambda: jax.random.key(0))
  compiled = jax.jit(gradient).lower(theta, x, key).compile()
  print(json.dumps(compiled.memory_analysis().temp_size_in_bytes))


if __name__ == "__main__":
  if sys.argv[1] == "matmul":
    matmul()
  elif sys.argv[1] == "memory":
    memory(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
  else:
    main(sys.argv[1])
