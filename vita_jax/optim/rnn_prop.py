"""RNNprop: an LSTM that sees the gradient as Adam and RMSProp would scale it (Lv, Jiang, Li 2017)."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vita_jax.optim.joint import map_coordinates
from vita_jax.optim.leaves import (
  Theta,
  Tree,
  as_dtype,
  check_floats,
  check_options,
  check_theta,
  linear,
  per_row,
  zeros_like_params,
)
from vita_jax.optim.lstm import init_linear, init_lstm, lstm
from vita_jax.optim.outputs import make_odd

HIDDEN = 20


class RNNpropState(NamedTuple):
  """Steps taken; moments m, v like the parameters; h, c of two layers with leaves [20, *shape]."""

  count: jax.Array  # type: ignore[assignment]  # optax's name, which hides tuple.count
  m: Tree
  v: Tree
  h1: Tree
  c1: Tree
  h2: Tree
  c2: Tree


def init_theta(key: jax.Array) -> Theta:
  """Draws the 6,641 weights before meta-training: `input_projection`, `lstm_1`, `lstm_2`, `linear`."""
  keys = jax.random.split(key, 4)
  return {
    "input_projection": init_linear(keys[0], 2, HIDDEN),
    "lstm_1": init_lstm(keys[1], HIDDEN, HIDDEN),
    "lstm_2": init_lstm(keys[2], HIDDEN, HIDDEN),
    "linear": init_linear(keys[3], HIDDEN, 1),
  }


def rnnprop(
  theta: Theta,
  *,
  scale: float = 0.01,
  beta1: float = 0.95,
  beta2: float = 0.95,
  eps: float = 1e-8,
  odd: bool = False,
  state_dtype: Any = "float32",
) -> optax.GradientTransformationExtraArgs:
  """Builds RNNprop as an optax transformation: every coordinate has a two-layer LSTM, all share `theta`.

  With Adam's bias-corrected moments m, v of the gradient g, the input is
  (m / (sqrt(v) + eps), g / (sqrt(v) + eps)), projected to 20 by ELU(W x + b); two LSTMs follow, and
  update = scale * tanh(W h2 + b), to be added. Updates do not change when the loss is multiplied by a
  constant. No coordinate sees another. A non-finite gradient gives a non-finite update. Derivatives are of
  reverse mode: `jax.jvp` and `jax.linearize` raise JAX's TypeError, since those of the LSTM are written out.

  Args:
    theta: from `rnn_prop.init_theta`, a meta-training run, or `learned`; may be a tracer.
    scale: of the output; no coordinate moves farther in a step.
    beta1: decay of the first moment.
    beta2: decay of the second moment.
    eps: added to the root.
    odd: takes (m(g) - m(-g)) / 2, see `outputs.make_odd`: no drift, twice the memory and time.
    state_dtype: of the carried state, moments included; "bfloat16" halves its memory of 82 numbers per
      coordinate, at three digits of precision in v.

  Raises:
    ValueError: `theta` is of another kind or shape, a number cannot be (see `leaves.OPTIONS`), or (in `init`)
      a parameter is complex, whole or boolean.

  Source: Lv, Jiang, Li 2017; numbers of the code of "Training Stronger Baselines for Learning to
  Optimize" (2020).
  """
  check_theta(theta, jax.eval_shape(init_theta, jax.random.key(0)), kind="rnnprop")
  check_options("rnnprop", scale=scale, beta1=beta1, beta2=beta2, eps=eps, odd=odd)
  project, readout, dtype = theta["input_projection"], theta["linear"], as_dtype(state_dtype)

  def init(params: Tree) -> RNNpropState:
    check_floats(params, kind="rnnprop")
    zeros = functools.partial(zeros_like_params, params, dtype=dtype)
    hidden = (zeros(features=HIDDEN) for _ in range(4))
    return RNNpropState(jnp.zeros((), jnp.int32), zeros(), zeros(), *hidden)

  def update(
    updates: Tree, state: RNNpropState, params: Tree = None, **extra: Any
  ) -> tuple[Tree, RNNpropState]:
    del params, extra
    count = optax.safe_increment(state.count)
    correct1, correct2 = (1.0 - beta ** count.astype(jnp.float32) for beta in (beta1, beta2))

    def one(gradient, m, v, h1, c1, h2, c2):
      g = gradient.astype(jnp.float32)
      m = beta1 * m.astype(jnp.float32) + (1.0 - beta1) * g
      v = beta2 * v.astype(jnp.float32) + (1.0 - beta2) * g * g
      # Two `where`s: the root has no derivative at zero, for those who differentiate through it.
      root = jnp.where(v > 0.0, jnp.sqrt(jnp.where(v > 0.0, v, 1.0) / correct2), 0.0 * v)
      inverse = 1.0 / (root + eps)
      x = jnp.stack([m / correct1 * inverse, g * inverse])
      x = linear(project["w"], x)
      x = jax.nn.elu(x + per_row(project["b"], x))
      h1, c1 = lstm(theta["lstm_1"], x, h1, c1)
      h2, c2 = lstm(theta["lstm_2"], h1, h2, c2)
      out = linear(readout["w"], h2)
      update = scale * jnp.tanh(out + per_row(readout["b"], out))[0]
      return update.astype(gradient.dtype), *(x.astype(dtype) for x in (m, v, h1, c1, h2, c2))

    updates, *new = map_coordinates(one, 7, updates, *state[1:])
    return updates, RNNpropState(count, *new)

  tx = optax.GradientTransformationExtraArgs(init, update)
  return make_odd(tx) if odd else tx
