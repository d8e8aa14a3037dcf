"""The general learned optimizer: a tiny network weighs normalised momenta; rate and decay are outside."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vita_jax.optim.joint import Joint, in_blocks, join, large_in_blocks, map_joints, means, split, spread
from vita_jax.optim.leaves import (
  Theta,
  Tree,
  as_dtype,
  axes_of,
  check_floats,
  check_options,
  check_theta,
  check_whole,
  mean_over,
  zero_like,
)
from vita_jax.optim.lstm import init_linear

HIDDEN = 8
DECAYS = (0.9, 0.99, 0.999)
SQUARES = 0.999  # decay of second moments
FEATURES = len(DECAYS) + 2
ALIVE = (
  0.1  # rms of the fast momentum over the root, from which steps have their full size; 0.2 is noise alone
)
SLOPE = 0.1  # of a hidden unit below zero, so that none is ever dead


class VitaMLPState(NamedTuple):
  """What the general optimizer carries: 16 bytes per coordinate, and row and column statistics.

  Attributes:
    count: int32, steps taken.
    fast, middle, slow: momenta with decays 0.9, 0.99, 0.999, like the parameters.
    squares: mean squared gradients, like the parameters.
    rows, columns: those, averaged over the last and over the last but one axis; scalars for vectors.
  """

  count: jax.Array  # type: ignore[assignment]  # optax's name, which hides tuple.count
  fast: Tree
  middle: Tree
  slow: Tree
  squares: Tree
  rows: Tree
  columns: Tree


def init_vita_mlp(key: jax.Array) -> Theta:
  """Draws the 173 weights before meta-training: `linear_1`, `linear_2`, `linear`, float32.

  The last layer starts so that the step is nearly that of Adam, normalised.
  """
  keys = jax.random.split(key, 3)
  readout = init_linear(keys[2], HIDDEN, FEATURES)
  return {
    "linear_1": init_linear(keys[0], FEATURES + 1, HIDDEN),
    "linear_2": init_linear(keys[1], HIDDEN, HIDDEN),
    "linear": {"w": 0.1 * readout["w"], "b": readout["b"].at[0].set(1.0)},
  }


def scale_by_vita_mlp(
  theta: Theta, *, specs: Tree = None, state_dtype: Any = "float32"
) -> optax.GradientTransformationExtraArgs:
  """Builds the direction of the general learned optimizer, in the manner of `optax.scale_by_adam`.

      optax.chain(
        scale_by_vita_mlp(theta), optax.add_decayed_weights(0.1), optax.scale_by_learning_rate(schedule)
      )

  Five odd features f of a coordinate: bias-corrected momenta of decays 0.9, 0.99, 0.999 and the gradient,
  each over the root of the mean squared gradient v (decay 0.999), and the fast momentum over the root of v as
  Adafactor has it, from rows and columns. A network of two layers of 8 sees |f| / (1 + |f|) and
  |p| / (|p| + rms p), and gives each feature a weight. direction = sum w f, divided by its root mean square
  over the tensor, times min(1, rms f_1 / 0.1), f_1 the feature of the fast momentum: that of mere noise is
  above 0.2, and where gradients have ended it goes to 0 within some tens of steps, and the tensor stops.

  So a gradient that was always zero gives exactly no step, -g gives the opposite step, and gradients times a
  constant give the same one. `update` needs `params`. Tensors see themselves alone.

  Args:
    theta: from `init_vita_mlp`, a meta-training run, or `learned`; may be a tracer.
    specs: inside `jax.shard_map`, a tree of `PartitionSpec` like the parameters, its in_specs: the means over
      tensors, rows and columns are then taken over the devices, too.
    state_dtype: of the carried moments, four numbers per coordinate.

  Raises:
    ValueError: `theta` is of another kind or shape, or (in `init`) a parameter is complex, whole or boolean;
      `update` was not given `params`; a parameter is a part of a tensor, and `specs` are not given.

  Source: features as in "Practical tradeoffs between memory, compute, and performance in learned optimizers"
  (2022), arXiv 2203.11860; oddness by construction and the size per tensor are ours.
  """
  return _times(1.0, theta, specs, as_dtype(state_dtype))


def _times(factor: Any, theta: Theta, specs: Tree, dtype: Any) -> optax.GradientTransformationExtraArgs:
  """The direction times a number."""
  check_theta(theta, jax.eval_shape(init_vita_mlp, jax.random.key(0)), kind="vita_mlp")

  def init(params: Tree) -> VitaMLPState:
    check_floats(params, kind="vita_mlp")
    zeros = jax.tree.map(zero_like, params)
    moments = (jax.tree.map(lambda z: z.astype(dtype) + 0, zeros) for _ in range(4))
    sums = (jax.tree.map(lambda z, axis=axis: _without(z, axis), zeros) for axis in (-1, -2))
    return VitaMLPState(jnp.zeros((), jnp.int32), *moments, *sums)

  def update(
    updates: Tree, state: VitaMLPState, params: Tree = None, **extra: Any
  ) -> tuple[Tree, VitaMLPState]:
    del extra
    if params is None and jax.tree.leaves(updates):
      raise ValueError("vita_mlp reads the parameters: call update(gradients, state, params)")
    if specs is None:
      check_whole(updates, kind="vita_mlp")
    count = optax.safe_increment(state.count)
    t = count.astype(jnp.float32)
    corrections = [1.0 / (1.0 - jnp.float32(decay) ** t) for decay in (*DECAYS, SQUARES)]
    cuts = _cuts(updates, specs)
    step = functools.partial(_step, cuts, _entries(theta), factor, corrections, dtype)
    whole = [cut.whole for cut in cuts]
    steps, *new = map_joints(step, 7, updates, params, *state[1:], cuts=whole)
    return steps, VitaMLPState(count, *new)

  return optax.GradientTransformationExtraArgs(init, update)


def vita_mlp(
  theta: Theta, *, scale: Any = 1e-3, specs: Tree = None, state_dtype: Any = "float32"
) -> optax.GradientTransformationExtraArgs:
  """Builds the general optimizer at a constant rate, with updates that are to be added: -scale direction.

  Args:
    theta: as for `scale_by_vita_mlp`.
    scale: root mean square of the updates of a tensor.
    specs: as there.
    state_dtype: as there.

  Raises:
    ValueError: as there, or a scale that cannot be.
  """
  check_options("vita_mlp", scale=scale)
  return _times(-scale, theta, specs, as_dtype(state_dtype))


class _Cut(NamedTuple):
  """Mesh axes along which a tensor, its last and its last but one axis are cut."""

  whole: tuple[str, ...]
  last: tuple[str, ...]
  before: tuple[str, ...]


def _cuts(tree: Tree, specs: Tree) -> list[_Cut]:
  leaves, structure = jax.tree.flatten(tree)
  of_leaves = structure.flatten_up_to(specs) if specs else [()] * len(leaves)  # type: ignore[attr-defined]
  return [_cut(x, spec) for x, spec in zip(leaves, of_leaves, strict=True)]


def _cut(x: Any, spec: Any) -> _Cut:
  names = [axes_of(axis or ()) for axis in (*spec, *(None,) * (jnp.ndim(x) - len(spec)))]
  return _Cut(tuple(itertools.chain(*names)), *((names[-i] if len(names) >= i else ()) for i in (1, 2)))


def _step(
  cuts: list[_Cut],
  layers: list,
  factor: Any,
  corrections: list,
  dtype: Any,
  joint: Joint,
  numbers: list[int],
  rows: list[tuple],
) -> list[tuple]:
  """The steps and new statistics of tensors that are worked on together, of (gradient, *state) each."""
  gradients, params, *moments, row_sums, column_sums = zip(*rows, strict=True)
  tensors = zip(gradients, row_sums, column_sums, [cuts[i] for i in numbers], strict=True)
  factored, row_sums, column_sums = zip(
    *(_factored(*x, correction=corrections[-1]) for x in tensors), strict=True
  )
  gradient, *columns = (join(joint, x) for x in (gradients, *moments, factored))
  p = join(joint, params).astype(jnp.float32)
  size = jnp.abs(p) * spread(joint, _inverse_root(means(joint, p * p)), p)
  move = functools.partial(large_in_blocks, functools.partial(_move, layers, corrections, dtype))
  direction, *new = in_blocks(joint, move, gradient, *columns, size)
  f = new[0].astype(jnp.float32) * _inverse_root(new[3].astype(jnp.float32))
  power = means(joint, direction * direction)
  alive = corrections[0] ** 2 / corrections[-1] * means(joint, f * f)
  # One size, but for tensors whose gradients have ended, where only momenta are left.
  length = jnp.minimum(alive * _inverse_root(alive) / ALIVE, 1.0) * _inverse_root(power)
  scale = factor * spread(joint, length, direction)
  (step,) = in_blocks(joint, lambda x, y: ((x * y).astype(gradient.dtype),), direction, scale)
  return list(zip(*(split(joint, x) for x in (step, *new)), row_sums, column_sums, strict=True))


def _factored(gradient, rows, columns, cut, *, correction):
  """(Inverse root of Adafactor's v, or -1 for a vector; new row and column statistics) of a tensor."""
  g = gradient.astype(jnp.float32)
  if g.ndim < 2:
    return 0.0 * g - 1.0, rows, columns
  rows = SQUARES * rows + (1.0 - SQUARES) * mean_over(g * g, (-1,), axis_name=cut.last)
  columns = SQUARES * columns + (1.0 - SQUARES) * mean_over(g * g, (-2,), axis_name=cut.before)
  mean = mean_over(rows, (-1,), axis_name=cut.before)[..., None]
  # v_ij = rows_i columns_j / mean, as a product of roots: nothing overflows.
  of_rows = _inverse_root(rows * correction) * jnp.where(
    mean > 0.0, jnp.sqrt(jnp.where(mean > 0.0, mean, 1.0)), 0.0
  )
  return of_rows[..., None] * _inverse_root(columns)[..., None, :], rows, columns


def _move(layers, corrections, dtype, gradient, fast, middle, slow, squares, factored, size):
  """(direction before it is normalised, new moments) of coordinates, none of which sees another."""
  g = gradient.astype(jnp.float32)
  momenta = [m.astype(jnp.float32) for m in (fast, middle, slow)]
  momenta = [d * m + (1.0 - d) * g for d, m in zip(DECAYS, momenta, strict=True)]
  squares = SQUARES * squares.astype(jnp.float32) + (1.0 - SQUARES) * g * g
  inverse = _inverse_root(squares * corrections[-1])
  corrected = [m * c for m, c in zip(momenta, corrections, strict=False)]
  factored = jnp.where(factored < 0.0, inverse, factored)  # vectors have no rows
  f = [*(m * inverse for m in corrected), g * inverse, corrected[0] * factored]
  direction = sum(w * x for w, x in zip(_weights(layers, f, size), f, strict=True))
  return direction, *(x.astype(dtype) for x in (*momenta, squares))


def _entries(theta: Mapping) -> list[tuple[list[tuple[jax.Array, ...]], tuple[jax.Array, ...]]]:
  """(weights, biases) of each layer as lists of scalars, split at once: to index each is slow to trace."""
  layers = []
  for name in ("linear_1", "linear_2", "linear"):
    rows = [jnp.unstack(row) for row in jnp.unstack(jnp.asarray(theta[name]["w"]))]
    layers.append((rows, jnp.unstack(jnp.asarray(theta[name]["b"]))))
  return layers


def _weights(layers: list, f: list[jax.Array], size: jax.Array) -> list[jax.Array]:
  """The network, a product at a time: one pass over the coordinates, eight times as fast as products of
  matrices that are 8 wide."""
  x = [jnp.abs(y) / (1.0 + jnp.abs(y)) for y in f] + [size / (1.0 + size)]
  for w, b in layers:
    x = [jax.lax.max(y, SLOPE * y) for y in x] if w is not layers[0][0] else x
    x = [b[j] + sum(row[j] * y for row, y in zip(w, x, strict=True)) for j in range(len(b))]
  return x


def _inverse_root(x: jax.Array) -> jax.Array:
  """1 / sqrt(x), and 0 at 0, with derivatives that are finite there."""
  return jnp.where(x > 0.0, jax.lax.rsqrt(jnp.where(x > 0.0, x, 1.0)), 0.0)


def _without(zero: jax.Array, axis: int) -> jax.Array:
  """Zeros of a tensor's statistics over an axis; a scalar for a vector."""
  return jnp.sum(zero, axis=axis if zero.ndim > 1 else None)
