"""A recurrent cell, in torch's convention: the LSTM."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.nn.linear import uniform_fan_in

Carry = tuple[jax.Array, jax.Array]  # hidden and cell state, [..., features] each


class LSTMCell(nn.Module):
  """One step of an LSTM: ((h, c), x [..., inputs]) -> ((h', c'), h').

  i, f, o = sigmoid and g = tanh of x @ input_kernel + h @ hidden_kernel + bias, in the order i, f, g, o;
  c' = f * c + i * g, h' = o * tanh(c'). Torch's two biases are here one, their sum.

  Parameters, float32: `input_kernel` [inputs, 4 features], `hidden_kernel` [features, 4 features], `bias`
  [4 features]; all U(-1/sqrt(features), 1/sqrt(features)), the default of torch for each of its own.

  A sequence is a scan over its leading axis:

      scan = nn.scan(LSTMCell, variable_broadcast="params", split_rngs={"params": False})
      carry, hidden = scan(features)(zero_carry(xs[0], features), xs)
  """

  features: int
  dtype: Any = None

  @nn.compact
  def __call__(self, carry: Carry, x: jax.Array) -> tuple[Carry, jax.Array]:
    hidden, cell = carry
    draw = uniform_fan_in(self.features)
    width = 4 * self.features
    w_x = self.param("input_kernel", draw, (x.shape[-1], width))
    w_h = self.param("hidden_kernel", draw, (self.features, width))
    bias = self.param("bias", draw, (width,))
    dtype = self.dtype or x.dtype
    gates = x.astype(dtype) @ w_x.astype(dtype) + hidden.astype(dtype) @ w_h.astype(dtype)
    i, f, g, o = jnp.split(gates + bias.astype(dtype), 4, axis=-1)
    cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
    hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
    return (hidden, cell), hidden


def zero_carry(x: jax.Array, features: int) -> Carry:
  """Returns the state to start from, zeros [..., features], for inputs like x [..., inputs]."""
  zeros = jnp.zeros_like(x, shape=(*x.shape[:-1], features))
  return zeros, zeros
