"""Worker: a training step of two pictures, or NanoDet alone on them. Argument: "step" or "detector"."""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp

from benchmarks.adv_logo.gpu import steps
from benchmarks.measure import serve
from vita_jax.losses.detection import best_score
from vita_jax.nn import detectors


def main(kind: str) -> None:
  step, state, batch = steps(small=True)[0].make()
  if kind == "step":
    program = jax.jit(step).lower(state, batch, jnp.int32(0)).compile()

    def call() -> None:
      jax.block_until_ready(program(state, batch, jnp.int32(0)))

  else:
    detector = detectors.load("nanodet")
    images = batch["image"].astype(jnp.float32) / 255

    def seen(images: jax.Array, variables: dict) -> jax.Array:
      return jnp.mean(best_score(detector.scores(variables, images)))

    gradient = jax.jit(jax.value_and_grad(seen)).lower(images, detector.variables).compile()

    def call() -> None:
      jax.block_until_ready(gradient(images, detector.variables))

  def run(n: int) -> None:
    for _ in range(n):
      call()

  run(1)
  serve(run, pictures=len(batch["image"]))


if __name__ == "__main__":
  main(sys.argv[1])
