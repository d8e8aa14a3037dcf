"""Bias-free linear maps of dense or sparse inputs, with the uniform initialisation of torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.base.choose import choose
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

  `dtype` is the type computed in. The kernel starts in U(-b, b) with b = 1 / sqrt(F), or, where `fan` is
  "out", b = 1 / sqrt(features).
  """

  features: int
  dtype: Any = jnp.float32
  fan: str = "in"

  @nn.compact
  def __call__(self, x: jax.Array | sparse.Sparse | sparse.RowReplaced) -> jax.Array:
    inner = x.matrix if isinstance(x, sparse.RowReplaced) else x
    fan_in = sparse.shape(inner)[1] if isinstance(inner, sparse.Sparse) else inner.shape[-1]
    fan = choose("fan", self.fan, ("in", "out"))
    init = uniform_fan_in(fan_in if fan == "in" else self.features)
    kernel = self.param("kernel", init, (fan_in, self.features))
    kernel = kernel.astype(self.dtype)
    if isinstance(x, sparse.RowReplaced):
      return sparse.matmul(x.matrix, kernel).at[x.row].set(x.values.astype(self.dtype) @ kernel)
    if isinstance(x, sparse.Sparse):
      return sparse.matmul(x, kernel)
    return x.astype(self.dtype) @ kernel
