"""L2O-Scale: a hierarchy of GRUs over coordinates, tensors and the whole problem (Wichrowska et al. 2017)."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vita_jax.optim.gru import gru, init_affine, init_gru
from vita_jax.optim.joint import in_blocks, join, joints, map_joints, means, split, spread
from vita_jax.optim.leaves import (
  AxisName,
  Theta,
  Tree,
  axes_of,
  check_floats,
  check_options,
  check_theta,
  check_whole,
  linear,
  per_row,
  varying,
  zero_like,
)
from vita_jax.optim.outputs import make_odd

TIMESCALES = 4
COORDINATE, TENSOR, PROBLEM = 10, 20, 20  # hidden sizes of the three GRUs
INPUTS = TIMESCALES + (TIMESCALES - 1) + TIMESCALES + 1
LOG_RATES = 0.5 * np.log(1e-6), 0.5 * np.log(1e-2)  # of one of the two draws that make a first log rate
CLIP = 33.0


class L2OScaleState(NamedTuple):
  """What L2O-Scale carries. Trees are like the parameters.

  Attributes:
    count: int32, steps taken.
    h_problem: float32 [20].
    h_tensor: leaves [20].
    h_coordinate: leaves [10, *shape].
    input_decay, scale_decay, log_rate: leaves [*shape]; decays of the accumulators.
    averages, squares: leaves [4, *shape]: gradients and their squares at four timescales.
  """

  count: jax.Array  # type: ignore[assignment]  # optax's name, which hides tuple.count
  h_problem: jax.Array
  h_tensor: Tree
  h_coordinate: Tree
  input_decay: Tree
  scale_decay: Tree
  log_rate: Tree
  averages: Tree
  squares: Tree


def init_theta(key: jax.Array) -> Theta:
  """Draws the 8,349 weights before meta-training, float32."""
  keys = iter(jax.random.split(key, 16))

  def vector(n):
    return jax.random.uniform(next(keys), (n,), minval=-1.0, maxval=1.0)

  def readout():
    return 0.5 * COORDINATE**-0.5 * jax.random.normal(next(keys), (COORDINATE, 1))

  return {
    "gru_coordinate": init_gru(next(keys), INPUTS, COORDINATE),
    "gru_tensor": init_gru(next(keys), COORDINATE + INPUTS, TENSOR),
    "gru_problem": init_gru(next(keys), TENSOR, PROBLEM),
    "tensor_to_coordinate": init_affine(next(keys), TENSOR, 3 * COORDINATE),
    "problem_to_coordinate": init_affine(next(keys), PROBLEM, 3 * COORDINATE),
    "problem_to_tensor": init_affine(next(keys), PROBLEM, 3 * TENSOR),
    "h_coordinate": vector(COORDINATE),
    "h_tensor": vector(TENSOR),
    "h_problem": vector(PROBLEM),
    "update": {"w": readout()},
    "scale_decay": {"w": readout(), "b": jnp.full(1, 3.2)},
    "input_decay": {"w": readout(), "b": jnp.full(1, 2.2)},
    "log_rate": {"w": jnp.zeros((COORDINATE, 1)), "b": jnp.zeros(1)},
    "shortcut": jnp.full(TIMESCALES, 1.0 / TIMESCALES),
    "log_rate_momentum": jnp.float32(3.2),
    "step_bias": jnp.float32(-1.0),
  }


def l2o_scale(
  theta: Theta, *, key: jax.Array | None = None, odd: bool = False, axis_name: AxisName = ()
) -> optax.GradientTransformationExtraArgs:
  """Builds L2O-Scale as an optax transformation: a GRU per coordinate, one per tensor, one for the problem.

  Each coordinate sees its gradient averaged over four timescales, their noise, and its learning rate
  beside the others'; the layers above see means over what is below and give it biases. The direction is
  divided by its root mean square over the tensor; the step is exp(log rate + bias) times it.
  update = -step, to be added. Updates do not change when the loss is multiplied by a constant. Layers
  above the coordinates take means over tensors: with sharded parameters they communicate.

  Args:
    theta: from `scale.init_theta`, a meta-training run, or `learned`; may be a tracer.
    key: draws the first log learning rates, between ln 1e-6 and ln 1e-2; default `jax.random.key(0)`.
    odd: takes (m(g) - m(-g)) / 2, see `outputs.make_odd`: no drift, twice the memory and time.
    axis_name: mesh axes along which tensors are cut inside `jax.shard_map`: means are taken over them, too.

  Raises:
    ValueError: `theta` is of another kind or shape, or (in `init`) a parameter is complex, whole or boolean.

  Source: Wichrowska et al. 2017 as released with "Training Stronger Baselines for Learning to Optimize"
  (2020), but that the global GRU sees the mean over all tensors (there: the last one's state), and that
  the first decays are those of a zero hidden state.
  """
  check_theta(theta, jax.eval_shape(init_theta, jax.random.key(0)), kind="l2o_scale")
  check_options("l2o_scale", odd=odd)

  def init(params: Tree) -> L2OScaleState:
    check_floats(params, kind="l2o_scale")
    check_whole(params, kind="l2o_scale")  # the draws of parts would repeat each other
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(0) if key is None else key, max(len(leaves), 1))
    # Each array has a buffer of its own, so that a fresh state may be donated.
    rows = [_first_state(theta, *row) for row in zip(leaves, keys, strict=False)]
    columns = [jax.tree.unflatten(structure, [row[i] for row in rows]) for i in range(7)]
    nothing = sum(jnp.sum(zero_like(x)) for x in leaves)
    h_problem = jnp.array(theta["h_problem"], copy=True) + nothing
    return L2OScaleState(jnp.zeros((), jnp.int32), h_problem, *columns)

  def update(
    updates: Tree, state: L2OScaleState, params: Tree = None, **extra: Any
  ) -> tuple[Tree, L2OScaleState]:
    del params, extra
    check_whole(updates, kind="l2o_scale", axis_name=axis_name)
    first = state.count == 0
    mean_rate = _mean_of_all(state.log_rate, axis_name)
    of_problem = {n: _affine(theta[f"problem_to_{n}"], state.h_problem) for n in ("coordinate", "tensor")}

    step = functools.partial(_step, theta, of_problem, mean_rate, first)
    cuts = [axis_name] * len(jax.tree.leaves(updates))
    steps, h_tensor, *rest = map_joints(step, 8, updates, *state[2:], cuts=cuts)
    tensors = jax.tree.leaves(h_tensor)
    mean = jnp.mean(jnp.stack(tensors), axis=0) if tensors else jnp.zeros(TENSOR, jnp.float32)
    h_problem = gru(theta["gru_problem"], mean, state.h_problem, jnp.zeros(3 * PROBLEM, jnp.float32))
    return steps, L2OScaleState(optax.safe_increment(state.count), h_problem, h_tensor, *rest)

  tx = optax.GradientTransformationExtraArgs(init, update)
  return make_odd(tx) if odd else tx


def _step(theta, of_problem, mean_rate, first, joint, numbers, rows):
  """Steps and states, the fields from `h_tensor` on, of tensors that are worked on together."""
  del numbers
  gradients, h_tensors, *columns = zip(*rows, strict=True)
  gradient, h, input_decay, scale_decay, log_rate, averages, squares = (
    join(joint, column) for column in (gradients, *columns)
  )
  h_tensor = jnp.stack(h_tensors, axis=1)
  bias = per_row(of_problem["coordinate"], h_tensor) + _affine(theta["tensor_to_coordinate"], h_tensor)
  move = functools.partial(_move, theta, mean_rate, first)
  before = (gradient, h, input_decay, scale_decay, log_rate, averages, squares)
  seen, direction, *accumulated = in_blocks(joint, move, *before, spread(joint, bias, h))
  below = means(joint, seen)
  h_tensor = gru(theta["gru_tensor"], below, h_tensor, per_row(of_problem["tensor"], h_tensor))
  length = spread(joint, jax.lax.rsqrt(means(joint, direction * direction) + 1e-16), direction)
  end = functools.partial(_end, theta)
  step, *decided = in_blocks(joint, end, direction, length, seen[:COORDINATE], log_rate)
  new = (step.astype(gradient.dtype), seen[:COORDINATE], *decided, *accumulated)
  steps, *rest = (split(joint, x) for x in new)
  return list(zip(steps, jnp.unstack(h_tensor, axis=1), *rest, strict=True))


def _move(theta, mean_rate, first, gradient, h, input_decay, scale_decay, log_rate, averages, squares, bias):
  """Of coordinates: ([new h, inputs], direction before it is normalised, accumulators)."""
  g = gradient.astype(jnp.float32)
  averages, squares = _accumulate(g, averages, squares, input_decay, scale_decay, first)
  scaled = jnp.arcsinh(averages * jax.lax.rsqrt(squares + 1e-16))
  noise = jnp.log(squares + 1e-16)
  inputs = jnp.concatenate(
    [
      scaled,
      scaled[:-1] * scaled[1:],
      noise - jnp.mean(noise, axis=0, keepdims=True),
      (log_rate - mean_rate)[None],
    ]
  )
  h = gru(theta["gru_coordinate"], inputs, h, bias)
  direction = _read(theta, h, "update") + jnp.sum(per_row(theta["shortcut"], scaled) * scaled, axis=0)
  return jnp.concatenate([h, inputs]), direction, averages, squares


def _end(theta, direction, length, h, log_rate):
  """Of coordinates: (step, new input and scale decays, new log rate)."""
  read = functools.partial(_read, theta, h)
  moved = _straight_through_clip(log_rate + read("log_rate"))
  momentum = jax.nn.sigmoid(theta["log_rate_momentum"])
  return (
    -jnp.exp(moved + theta["step_bias"]) * direction * length,
    jax.nn.sigmoid(read("input_decay")),
    jax.nn.sigmoid(read("scale_decay")),
    momentum * log_rate + (1.0 - momentum) * moved,
  )


def _accumulate(g, averages, squares, input_decay, scale_decay, first):
  """a_i <- b_i a_i + (1 - b_i) g and q_i <- s q_i + (1 - s)(a_i^2 + 1e-12); b_{i+1} = sqrt(b_i)."""
  roots = [input_decay]
  for _ in range(TIMESCALES - 1):
    roots.append(jnp.sqrt(roots[-1]))
  decays = jnp.stack(roots)
  averages = averages * decays + g[None] * (1.0 - decays)
  s = jnp.where(first, 0.0, scale_decay)[None]
  return averages, (1.0 - s) * (averages * averages + 1e-12) + s * squares


def _first_state(theta, x, key):
  """What one tensor starts with, in the order of the state's fields from `h_tensor` on; sharded as x."""
  zero, (low, high) = zero_like(x), LOG_RATES
  of_tensor, of_coordinates = jax.random.split(key)
  draw = functools.partial(jax.random.uniform, dtype=jnp.float32, minval=low, maxval=high)
  log_rate = draw(of_tensor, ()) + draw(of_coordinates, zero.shape)
  accumulators = (jnp.broadcast_to(zero[None], (TIMESCALES, *zero.shape)) + 0.0 for _ in range(2))
  return (
    theta["h_tensor"] + jnp.sum(zero),
    per_row(jnp.asarray(theta["h_coordinate"]), zero[None]) + zero[None],
    zero + jax.nn.sigmoid(theta["input_decay"]["b"][0]),
    zero + jax.nn.sigmoid(theta["scale_decay"]["b"][0]),
    zero + log_rate,
    *accumulators,
  )


def _read(theta, h, name):
  return linear(theta[name]["w"], h)[0] + theta[name].get("b", [0.0])[0]


def _affine(theta, x):
  """[inputs, *shape] -> [outputs, *shape]."""
  y = linear(theta["w"], x)
  return y + per_row(theta["b"], y)


def _mean_of_all(tree, axis_name):
  """The mean over all coordinates, some tensors of which may be cut, and others not."""
  leaves = jax.tree.leaves(tree)
  total, names = jnp.zeros((), jnp.float32), axes_of(axis_name)
  sizes = [x.size * math.prod(jax.lax.axis_size(n) for n in names if n in varying(x)) for x in leaves]
  for joint, some in joints([(x,) for x in leaves], [axis_name] * len(leaves)):
    mean = means(joint, join(joint, [leaves[i] for i in some]))
    total += jnp.sum(mean * np.array([sizes[i] for i in some], np.float32))
  return total / max(sum(sizes), 1)


def _straight_through_clip(x):
  return x + jax.lax.stop_gradient(jnp.clip(x, -CLIP, CLIP) - x)
