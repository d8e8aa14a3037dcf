"""L2O-DM: the coordinate-wise LSTM of "Learning to learn by gradient descent by gradient descent" (2016)."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vita_jax.base.keys import above
from vita_jax.optim.joint import map_coordinates
from vita_jax.optim.leaves import (
  Theta,
  Tree,
  as_dtype,
  check_floats,
  check_number,
  check_options,
  check_theta,
  linear,
  per_row,
  zeros_like_params,
)
from vita_jax.optim.lstm import init_linear, init_lstm, lstm
from vita_jax.optim.outputs import make_odd

HIDDEN = 20
EPSILON = float(jnp.finfo(jnp.float32).eps)


class L2ODMState(NamedTuple):
  """Hidden and cell states of the two layers: trees like the parameters, leaves [20, *shape]."""

  h1: Tree
  c1: Tree
  h2: Tree
  c2: Tree


def init_theta(key: jax.Array) -> Theta:
  """Draws the 5,141 weights before meta-training: `lstm_1`, `lstm_2`, `linear`, float32."""
  keys = jax.random.split(key, 3)
  return {
    "lstm_1": init_lstm(keys[0], 2, HIDDEN),
    "lstm_2": init_lstm(keys[1], HIDDEN, HIDDEN),
    "linear": init_linear(keys[2], HIDDEN, 1),
  }


def preprocess(gradient: jax.Array, k: float = 5.0) -> jax.Array:
  """Computes (max(ln(|g| + eps)/k, -1), clip(g e^k, -1, 1)): [*shape] -> [2, *shape], eps of float32."""
  check_number("k", k, above(0))
  size = jnp.maximum(jnp.log(jnp.abs(gradient) + EPSILON) / k, -1.0)
  return jnp.stack([size, jnp.clip(gradient * jnp.exp(k), -1.0, 1.0)])


def l2o_dm(
  theta: Theta, *, scale: float = 0.01, odd: bool = False, state_dtype: Any = "float32"
) -> optax.GradientTransformationExtraArgs:
  """Builds L2O-DM as an optax transformation: every coordinate has a two-layer LSTM, all share `theta`.

  update = scale * (W h2 + b), where h1, h2 are the layers' outputs for `preprocess(gradient)`. Updates
  are to be added (`optax.apply_updates`) and have the gradients' dtypes. No coordinate sees another.
  A non-finite gradient gives a non-finite update; `optax.apply_if_finite` composes. Derivatives are of
  reverse mode: `jax.jvp` and `jax.linearize` raise JAX's TypeError, since those of the LSTM are written out.

  Args:
    theta: from `dm.init_theta`, a meta-training run, or `learned`; may be a tracer.
    scale: of the output.
    odd: takes (m(g) - m(-g)) / 2, see `outputs.make_odd`: no drift, twice the memory and time.
    state_dtype: of the carried state; "bfloat16" halves its memory of 80 numbers per coordinate.

  Raises:
    ValueError: `theta` is of another kind or shape, a number cannot be (see `leaves.OPTIONS`), or (in `init`)
      a parameter is complex, whole or boolean.

  Source: Andrychowicz et al. 2016; numbers of the code of "Training Stronger Baselines for Learning to
  Optimize" (2020).
  """
  check_theta(theta, jax.eval_shape(init_theta, jax.random.key(0)), kind="l2o_dm")
  check_options("l2o_dm", scale=scale, odd=odd)
  readout, dtype = theta["linear"], as_dtype(state_dtype)

  def init(params: Tree) -> L2ODMState:
    check_floats(params, kind="l2o_dm")
    return L2ODMState(*(zeros_like_params(params, features=HIDDEN, dtype=dtype) for _ in range(4)))

  def one(gradient, h1, c1, h2, c2):
    g = gradient.astype(jnp.float32)
    h1, c1 = lstm(theta["lstm_1"], preprocess(g), h1, c1)
    h2, c2 = lstm(theta["lstm_2"], h1, h2, c2)
    out = linear(readout["w"], h2)
    update = scale * (out + per_row(readout["b"], out))[0]
    return update.astype(gradient.dtype), *(x.astype(dtype) for x in (h1, c1, h2, c2))

  def update(updates: Tree, state: L2ODMState, params: Tree = None, **extra: Any) -> tuple[Tree, L2ODMState]:
    del params, extra
    updates, *new = map_coordinates(one, 5, updates, *state)
    return updates, L2ODMState(*new)

  tx = optax.GradientTransformationExtraArgs(init, update)
  return make_odd(tx) if odd else tx
