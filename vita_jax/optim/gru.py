"""The GRU cell of L2O-Scale, features first, with biases that come from the layers above."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vita_jax.optim.leaves import linear, per_row


def init_affine(key: jax.Array, inputs: int, outputs: int) -> dict[str, jax.Array]:
  """Draws {"w" [inputs, outputs], "b" [outputs]}: normal with sigma 0.5/sqrt(inputs), and zeros."""
  return {"w": 0.5 * inputs**-0.5 * jax.random.normal(key, (inputs, outputs)), "b": jnp.zeros(outputs)}


def init_gru(key: jax.Array, inputs: int, hidden: int) -> dict[str, jax.Array]:
  """Draws {"w" [inputs + hidden, 3 hidden], "b" [3 hidden]}: columns of reset, update, candidate.

  Weights are normal with sigma 0.5/sqrt(inputs + hidden); the gates' biases are 2.2, the candidate's 0.
  """
  theta = init_affine(key, inputs + hidden, 3 * hidden)
  return {**theta, "b": theta["b"].at[: 2 * hidden].set(2.2)}


def gru(theta: dict, x: jax.Array, h: jax.Array, bias: jax.Array) -> jax.Array:
  """Takes one step: x [inputs, *shape], h [hidden, *shape] -> new h.

  With `bias`, which broadcasts to [3 hidden, *shape], injected:
  r, u = sigmoid(A([x, h]) + bias), c = tanh(A([x, r h]) + bias), h' = u h + (1 - u) c.
  """
  n = 2 * h.shape[0]
  w, b = theta["w"], per_row(theta["b"], h) + bias
  gates = linear(w[:, :n], jnp.concatenate([x, h]))
  r, u = jnp.split(jax.nn.sigmoid(gates + b[:n]), 2)
  c = linear(w[:, n:], jnp.concatenate([x, r * h]))
  c = jnp.tanh(c + b[n:])
  return u * h + (1.0 - u) * c
