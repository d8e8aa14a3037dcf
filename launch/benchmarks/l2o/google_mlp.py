"""Worker: the meta-gradient of `meta_gradient` by google/learned_optimization, where it is installed.

Its per-parameter MLP (19-32-32-2) does a third of the LSTM's products; its users take gradients through the
unrolled steps of all networks side by side.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from benchmarks.l2o.meta_gradient import BATCH, STEPS, images, serve_segment, useful_flops
from vita_jax.optim.optimizees import optimizee

PRODUCTS = 19 * 32 + 32 * 32 + 32 * 2


def main() -> None:
  from learned_optimization.learned_optimizers.mlp_lopt import MLPLOpt

  learned, problem, arrays = MLPLOpt(compute_summary=False), optimizee("mnist_mlp"), images()
  theta = learned.init(jax.random.key(0))

  def segment_loss(theta, key, arrays):
    optimizer = learned.opt_fn(theta)
    loss = lambda x, key: problem.loss(x, problem.sample(arrays, key, BATCH))  # noqa: E731

    def step(state, key):
      value, gradient = jax.value_and_grad(loss)(optimizer.get_params(state), key)
      return optimizer.update(state, jax.lax.stop_gradient(gradient), value), value

    start = optimizer.init(problem.init(key), num_steps=STEPS)
    keys = jax.random.split(key, STEPS + 1)
    end, values = jax.lax.scan(step, start, keys[:-1])
    return jnp.sum(values) + loss(optimizer.get_params(end), keys[-1])

  @jax.jit
  def meta_gradient(theta, keys, arrays):
    every = jax.vmap(segment_loss, (None, 0, None))
    return jax.grad(lambda theta: jnp.mean(every(theta, keys, arrays)))(theta)

  serve_segment(meta_gradient, theta, arrays, gflop=useful_flops(PRODUCTS) / 1e9)


if __name__ == "__main__":
  main()
