"""A small per-parameter MLP fed with momenta and the time: cheap, and nearly without state."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vita_jax.optim.leaves import (
  AxisName,
  Theta,
  Tree,
  as_dtype,
  check_floats,
  check_options,
  check_theta,
  check_whole,
  linear,
  map_leaves,
  mean_over,
  per_row,
  zeros_like_params,
)
from vita_jax.optim.lstm import init_linear
from vita_jax.optim.outputs import make_odd

HIDDEN = 32
DECAYS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
TIMES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)
INPUTS = 2 + len(DECAYS) + len(TIMES)


class L2OMLPState(NamedTuple):
  """Steps taken, and the momenta: a tree like the parameters with leaves [6, *shape]."""

  count: jax.Array  # type: ignore[assignment]  # optax's name, which hides tuple.count
  momenta: Tree


def init_theta(key: jax.Array) -> Theta:
  """Draws the 1,762 weights before meta-training: `linear_1`, `linear_2`, `linear`, float32."""
  keys = jax.random.split(key, 3)
  return {
    "linear_1": init_linear(keys[0], INPUTS, HIDDEN),
    "linear_2": init_linear(keys[1], HIDDEN, HIDDEN),
    "linear": init_linear(keys[2], HIDDEN, 2),
  }


def l2o_mlp(
  theta: Theta,
  *,
  step_scale: float = 1e-3,
  magnitude_scale: float = 1e-3,
  odd: bool = False,
  axis_name: AxisName = (),
  state_dtype: Any = "float32",
) -> optax.GradientTransformationExtraArgs:
  """Builds the per-parameter MLP as an optax transformation; it needs `params` in `update`.

  Features of a coordinate: gradient, parameter, six momenta m <- d m + (1 - d) g, each divided by its
  root mean square over the tensor, and eleven tanh(t / tau - 1) of the steps t taken. Two ReLU layers of
  32 give (d, s), and update = -step_scale * d * exp(magnitude_scale * s), to be added.

  Args:
    theta: from `mlp.init_theta`, a meta-training run, or `learned`; may be a tracer.
    step_scale: of the output d.
    magnitude_scale: of the output s.
    odd: takes (m(g) - m(-g)) / 2, see `outputs.make_odd`: no drift, twice the memory and time.
    axis_name: mesh axes along which tensors are cut inside `jax.shard_map`: means are taken over them, too.
    state_dtype: of the carried momenta, six numbers per coordinate.

  Raises:
    ValueError: `theta` is of another kind or shape, a number cannot be (see `leaves.OPTIONS`), or (in `init`)
      a parameter is complex, whole or boolean; `update` was not given `params`.

  Source: the small optimizer of Metz et al. 2020, "Tasks, stability, architecture, and compute:
  training more effective learned optimizers", arXiv 2009.11243 (not part of the 2020 paper on training).
  """
  check_theta(theta, jax.eval_shape(init_theta, jax.random.key(0)), kind="l2o_mlp")
  check_options("l2o_mlp", step_scale=step_scale, magnitude_scale=magnitude_scale, odd=odd)
  dtype = as_dtype(state_dtype)

  def init(params: Tree) -> L2OMLPState:
    check_floats(params, kind="l2o_mlp")
    momenta = zeros_like_params(params, features=len(DECAYS), dtype=dtype)
    return L2OMLPState(jnp.zeros((), jnp.int32), momenta)

  def update(
    updates: Tree, state: L2OMLPState, params: Tree = None, **extra: Any
  ) -> tuple[Tree, L2OMLPState]:
    del extra
    if params is None and jax.tree.leaves(updates):
      raise ValueError("l2o_mlp reads the parameters: call update(gradients, state, params)")
    check_whole(updates, kind="l2o_mlp", axis_name=axis_name)
    times = jnp.tanh(state.count.astype(jnp.float32) / jnp.array(TIMES) - 1.0)

    def one(gradient, p, momenta):
      g, p = (x.astype(jnp.float32) for x in (gradient, p))
      decays = per_row(jnp.array(DECAYS), momenta)
      momenta = decays * momenta.astype(jnp.float32) + (1.0 - decays) * g[None]
      seen = jnp.concatenate([jnp.stack([g, p]), momenta])
      power = mean_over(seen * seen, range(1, seen.ndim), axis_name=axis_name)
      x = seen * jax.lax.rsqrt(per_row(power, seen) + 1e-5)
      # The time is the same for all coordinates: it enters the first layer as a bias.
      first = theta["linear_1"]
      b = first["b"] + times @ first["w"][len(x) :]
      x = linear(first["w"][: len(x)], x)
      x = jax.nn.relu(x + per_row(b, x))
      for name in ("linear_2", "linear"):
        x = linear(theta[name]["w"], x)
        x = x + per_row(theta[name]["b"], x)
        x = jax.nn.relu(x) if name == "linear_2" else x
      step = -step_scale * x[0] * jnp.exp(magnitude_scale * x[1])
      return step.astype(gradient.dtype), momenta.astype(dtype)

    steps, momenta = map_leaves(one, 2, updates, params, state.momenta)
    return steps, L2OMLPState(optax.safe_increment(state.count), momenta)

  tx = optax.GradientTransformationExtraArgs(init, update)
  return make_odd(tx) if odd else tx
