"""What the arithmetic of this machine allows: products of matrices, and layers by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.measure import fastest

MATRIX = 1536  # rows and columns of what is multiplied
PRODUCT = 2 * MATRIX**3  # its floating-point operations


def multiply() -> Callable[[int], None]:
  """Returns `run(n)`, which multiplies n pairs of matrices and waits for them."""
  x = jnp.ones((MATRIX, MATRIX))
  product = jax.jit(lambda x: x @ x * (1 / MATRIX))
  return lambda n: [product(x).block_until_ready() for _ in range(n)] and None


def matrix_rate() -> float:
  """Measures the floating-point operations of a second that a product of matrices reaches."""
  run = multiply()
  return PRODUCT / fastest(lambda: run(1))


def layer_gradients(layer: Any, x_shape: tuple[int, ...]) -> Callable[[], Any]:
  """Returns a call of a Flax layer with the gradients in its input and its parameters.

  The value is asked for, too: gradients of a linear layer need no forward pass, which would be left out.
  """
  x = jax.random.normal(jax.random.key(0), x_shape)
  params = layer.init(jax.random.key(1), x)["params"]
  y = jax.eval_shape(layer.apply, {"params": params}, x)
  weight = jax.random.normal(jax.random.key(2), y.shape)

  def loss(params: Any, x: jax.Array) -> jax.Array:
    return jnp.sum(layer.apply({"params": params}, x) * weight)

  compiled = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
  return lambda: jax.block_until_ready(compiled(params, x))
