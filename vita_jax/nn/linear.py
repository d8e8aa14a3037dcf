"""Bias-free linear maps of dense or sparse inputs, with the uniform initialisation of torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.nn import sparse


def uniform_fan_in(fan_in: int) -> Callable[..., jax.Array]:
  """Returns an initializer: U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the default of torch.nn.Linear."""
  bound = 1 / math.sqrt(fan_in)

  def init(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
    # Drawn flat: the same numbers, and XLA compiles them for the CPU several times faster.
    return jax.random.uniform(key, (math.prod(shape),), dtype, -bound, bound).reshape(shape)

  return init


class Linear(nn.Module):
  """x [N, F] (array or `sparse.Sparse`) -> x @ kernel [N, features]; float32 kernel [F, features].

  `dtype` is the type computed in.
  """

  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array | sparse.Sparse) -> jax.Array:
    fan_in = sparse.shape(x)[1] if isinstance(x, sparse.Sparse) else x.shape[-1]
    kernel = self.param("kernel", uniform_fan_in(fan_in), (fan_in, self.features))
    kernel = kernel.astype(self.dtype)
    if isinstance(x, sparse.Sparse):
      return sparse.matmul(x, kernel)
    return x.astype(self.dtype) @ kernel
