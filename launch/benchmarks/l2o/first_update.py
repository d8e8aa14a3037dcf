"""Answers with the CPU seconds to trace and compile a first update of 60 leaves of unlike shapes.

Argument: adam|adafactor|KIND.
"""

from __future__ import annotations

import json
import sys
import time

import jax
import jax.numpy as jnp
import optax

from vita_jax.optim import KINDS

LAYERS = 30


def main(name: str) -> None:
  params = {f"layer_{i}": {"w": jnp.ones((8 + i, 16 + i)), "b": jnp.ones(16 + i)} for i in range(LAYERS)}
  if name in ("adam", "adafactor"):
    tx = getattr(optax, name)(1e-3)
  else:
    tx = KINDS[name].build(KINDS[name].init_theta(jax.random.key(0)))
  state = jax.block_until_ready(jax.jit(tx.init)(params))
  start = time.process_time()
  jax.jit(tx.update).lower(params, state, params).compile()
  print(json.dumps(time.process_time() - start))


if __name__ == "__main__":
  main(sys.argv[1])
