"""Worker: updates of an optimizer, state donated. Arguments: adam|KIND PARAMETERS STATE_DTYPE.

The parameters are tensors of a million entries each.
"""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import optax

from benchmarks.measure import serve
from vita_jax.optim import KINDS

LARGEST = 1_000_000


def main(kind: str, parameters: int, state_dtype: str) -> None:
  sizes = [min(LARGEST, parameters - start) for start in range(0, parameters, LARGEST)]
  params = {f"tensor_{i}": jnp.ones(size) for i, size in enumerate(sizes)}
  gradients = jax.tree.map(lambda x: 0.1 * x, params)
  if kind == "adam":
    tx = optax.adam(1e-3)
  else:
    options = {} if state_dtype == "float32" else {"state_dtype": jnp.dtype(state_dtype)}
    tx = KINDS[kind].build(KINDS[kind].init_theta(jax.random.key(0)), **options)

  def step(params, state, gradients):
    updates, state = tx.update(gradients, state, params)
    return optax.apply_updates(params, updates), state

  step = jax.jit(step, donate_argnums=(0, 1))
  carry = [params, jax.jit(tx.init)(params)]
  size = sum(x.nbytes for x in jax.tree.leaves(carry[1]))

  def run(n):
    for _ in range(n):
      carry[:] = jax.block_until_ready(step(*carry, gradients))

  run(1)
  serve(run, bytes_per_coordinate=size / parameters)


if __name__ == "__main__":
  main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
