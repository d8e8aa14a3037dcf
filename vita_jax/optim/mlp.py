"""A small per-parameter MLP fed with momenta and the time: cheap, and nearly without state."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vita_jax.optim.joint import in_blocks, join, map_joints, means, split, spread
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
  per_row,
  zeros_like_params,
)
from vita_jax.optim.lstm import init_linear
from vita_jax.optim.outputs import make_odd

HIDDEN = 32
DECAYS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
TIMES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)
SEEN = 2 + len(DECAYS)
INPUTS = SEEN + len(TIMES)


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

    # The time is the same for all coordinates: it enters the first layer as a bias.
    first = theta["linear_1"]
    layers = [
      {"w": first["w"][:SEEN], "b": first["b"] + times @ first["w"][SEEN:]},
      theta["linear_2"],
      theta["linear"],
    ]

    def move(x, scale):
      x = x * scale
      for layer in layers:
        x = jax.nn.relu(x) if layer is not layers[0] else x
        x = linear(layer["w"], x)
        x = x + per_row(layer["b"], x)
      return (-step_scale * x[0] * jnp.exp(magnitude_scale * x[1]),)

    def together(joint, numbers, rows):
      del numbers
      gradient, *columns = (join(joint, column) for column in zip(*rows, strict=True))
      (seen,) = in_blocks(joint, _seen, gradient, *columns)
      power = means(joint, seen * seen)
      (step,) = in_blocks(joint, move, seen, spread(joint, jax.lax.rsqrt(power + 1e-5), seen))
      new = (step.astype(gradient.dtype), seen[2:].astype(dtype))
      return list(zip(*(split(joint, x) for x in new), strict=True))

    cuts = [axis_name] * len(jax.tree.leaves(updates))
    steps, momenta = map_joints(together, 2, updates, params, state.momenta, cuts=cuts)
    return steps, L2OMLPState(optax.safe_increment(state.count), momenta)

  tx = optax.GradientTransformationExtraArgs(init, update)
  return make_odd(tx) if odd else tx


def _seen(gradient: jax.Array, p: jax.Array, momenta: jax.Array) -> tuple[jax.Array]:
  """Gradient, parameter and new momenta, [8, *shape] in float32."""
  g, p = (x.astype(jnp.float32) for x in (gradient, p))
  decays = per_row(jnp.array(DECAYS), momenta)
  momenta = decays * momenta.astype(jnp.float32) + (1.0 - decays) * g[None]
  return (jnp.concatenate([jnp.stack([g, p]), momenta]),)
