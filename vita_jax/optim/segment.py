"""The gradient of a segment: how the loss of a stretch of optimization changes with the optimizer's weights.

A segment starts at x_0 with optimizer state h_0 and takes T steps: g_t = grad f_t(x_t),
(delta_t, h_{t+1}) = m_theta(g_t, h_t). Every f_t has its own minibatch. The optimizer's inputs are constants
(stop-gradient), which makes the gradient for theta cheap.

Self-training: x_{t+1} = x_t + delta_t, so x_s depends on theta only as a sum of updates, and
dL/d delta_t = sum_{s > t} dL/df_s grad f_s(x_s). Those gradients are there already: the optimizee is
never differentiated twice.

Imitation: a teacher moves x; the loss compares delta_t with its step y_t: dL/d delta_t = (delta_t - y_t)/P.

In both cases what is left is to send known cotangents back through m_theta alone (`pull_back`): one pass
forward keeps (g_t, h_t), one pass back recomputes one step at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

Tree = Any
Build = Callable[[Tree], optax.GradientTransformation]
# (x, key of the minibatch) -> scalar; or [B] for B optimizations side by side, with x's leaves [B, ...]
Loss = Callable[[Tree, jax.Array], jax.Array]


class Segment(NamedTuple):
  """What a segment gives.

  Attributes:
    gradient: of the segment's loss, a tree like theta.
    loss: float32 scalar, the segment's loss.
    x, state, teacher: where it ended: parameters of the optimizee, state of the learned optimizer and of
      the teacher (None without one).
    losses: float32 [T + 1], f_t(x_t); [T] with a teacher; [..., B] side by side.
    of_start: how the loss changes with the state that it started from, for `through_init`.
  """

  gradient: Tree
  loss: jax.Array
  x: Tree
  state: Tree
  teacher: Tree
  losses: jax.Array
  of_start: list


def self_training(
  build: Build,
  theta: Tree,
  loss: Loss,
  x: Tree,
  state: Tree,
  keys: jax.Array,
  *,
  meta_loss: Callable[[jax.Array], jax.Array] = jnp.sum,
  save_every: int = 1,
) -> Segment:
  """Takes a self-training segment: L = meta_loss(f_0(x_0), ..., f_T(x_T)).

  Args:
    build: theta -> optax transformation whose updates are added.
    theta: weights of the optimizer.
    loss: of the optimizee; every key draws a fresh minibatch.
    x: parameters where the segment starts.
    state: of the optimizer, there.
    keys: [T + 1].
    meta_loss: of the T + 1 losses; the paper's is their sum.
    save_every: states kept for the pass back, see `pull_back`.
  """
  tx = build(theta)

  def step(carry, key):
    x, state = carry
    value, gradient = values_and_gradient(loss, x, key)
    delta, state = tx.update(gradient, state, x)
    return (optax.apply_updates(x, delta), state), (value, gradient, x)

  (x_end, end), starts, (values, gradients, xs) = _scan_in_blocks(step, (x, state), keys[:-1], save_every)
  value, last = values_and_gradient(loss, x_end, keys[-1])
  losses = jnp.concatenate([values, value[None]])
  total, weights = jax.value_and_grad(meta_loss)(losses)

  def later(carry, row):  # sum of w_s grad f_s over s > t, from the last step to the first
    return jax.tree.map(jnp.add, carry, _weighted(*row)), carry

  last = _weighted(weights[-1], last)
  _, cotangents = jax.lax.scan(later, last, (weights[:-1], gradients), reverse=True)
  gradient, of_start = pull_back(
    build, theta, gradients, xs, starts[1], lambda delta, c: c, cotangents, save_every=save_every
  )
  return Segment(gradient, total, x_end, end, None, losses, of_start)


def imitation(
  build: Build,
  theta: Tree,
  loss: Loss,
  x: Tree,
  state: Tree,
  keys: jax.Array,
  *,
  teacher: optax.GradientTransformation,
  teacher_state: Tree,
  teacher_steps: int = 1,
  weight: float = 1.0,
  save_every: int = 1,
) -> Segment:
  """Takes an imitation segment: L = weight sum_t mean_j (y_tj - delta_tj)^2 / 2 along a teacher's path.

  y_t is how far the teacher goes in `teacher_steps` steps from x_t; the student sees the gradient of the
  first. The optimizer's state is the student's own, carried along.

  Args:
    build: as for `self_training`.
    theta: as there.
    loss: as there.
    x: as there.
    state: as there.
    save_every: as there.
    keys: [T].
    teacher: an optax transformation.
    teacher_state: its state at x.
  """
  tx = build(theta)
  scale = weight / sum(leaf.size for leaf in jax.tree.leaves(x))

  def step(carry, key):
    x, state, memory = carry
    value, gradient = values_and_gradient(loss, x, key)
    delta, state = tx.update(gradient, state, x)

    def again(x, i):
      return values_and_gradient(loss, x, jax.random.fold_in(key, i + 1))[1]

    def follow(i, carry):
      moved, memory, g = carry
      step, memory = teacher.update(g, memory, moved)
      moved = optax.apply_updates(moved, step)
      return moved, memory, again(moved, i) if teacher_steps > 1 else g

    moved, memory, _ = jax.lax.fori_loop(
      0, teacher_steps, follow, (x, memory, gradient), unroll=teacher_steps == 1
    )
    y = jax.tree.map(jnp.subtract, moved, x)
    error = sum(jnp.sum((a - b) ** 2) for a, b in zip(*map(jax.tree.leaves, (y, delta)), strict=True))
    return (moved, state, memory), (value, gradient, x, y, 0.5 * scale * error)

  (x_end, end, memory), starts, rows = _scan_in_blocks(step, (x, state, teacher_state), keys, save_every)
  losses, gradients, xs, targets, errors = rows

  def cotangent(delta, y):
    return jax.tree.map(lambda d, y: (d - y) * scale, delta, y)

  gradient, of_start = pull_back(
    build, theta, gradients, xs, starts[1], cotangent, targets, save_every=save_every
  )
  return Segment(gradient, jnp.sum(errors), x_end, end, memory, losses, of_start)


def pull_back(
  build: Build,
  theta: Tree,
  gradients: Tree,
  xs: Tree,
  starts: Tree,
  cotangent: Callable[[Tree, Tree], Tree],
  targets: Tree,
  *,
  save_every: int = 1,
) -> tuple[Tree, list]:
  """Computes (dL/dtheta, dL/d start state), given dL/d delta_t = `cotangent(delta_t, targets_t)`.

  Args:
    build: theta -> optax transformation.
    theta: its weights.
    gradients: a tree with a leading axis [T].
    xs: a tree with a leading axis [T].
    targets: a tree with a leading axis [T].
    starts: states of the optimizer with a leading axis [T / k]: those before the steps 0, k, 2k, ... .
    save_every: k. With k > 1 the states between are computed once more, from the gradients, without asking
      the optimizee: memory for T / k + k states instead of T.
  """

  def step_back(carry, row):
    total, later = carry
    gradient, x, target, state = row
    floats, rest = _divide(state)

    def step(theta, floats):
      delta, new = build(theta).update(gradient, _join(floats, rest), x)
      return delta, _divide(new)[0]

    (delta, _), vjp = jax.vjp(step, theta, floats)
    here = jax.tree.map(lambda c, d: c.astype(d.dtype), cotangent(delta, target), delta)
    of_theta, later = vjp((here, later))
    return (jax.tree.map(jnp.add, total, of_theta), later), None

  def states_of_block(start, rows):
    tx = build(theta)

    def again(state, row):
      return tx.update(row[0], state, row[1])[1], state

    last, states = jax.lax.scan(again, start, jax.tree.map(lambda x: x[:-1], rows))
    return jax.tree.map(lambda x, y: jnp.concatenate([x, y[None]]), states, last)

  def block_back(carry, block):
    rows, start = block
    return jax.lax.scan(step_back, carry, (*rows, states_of_block(start, rows)), reverse=True)

  first = jax.tree.map(lambda x: x[0], starts)
  nothing = jax.tree.map(jnp.zeros_like, (theta, _divide(first)[0]))
  if save_every == 1:
    return jax.lax.scan(step_back, nothing, (gradients, xs, targets, starts), reverse=True)[0]
  rows = jax.tree.map(lambda x: x.reshape(-1, save_every, *x.shape[1:]), (gradients, xs, targets))
  return jax.lax.scan(block_back, nothing, (rows, starts), reverse=True)[0]


def through_init(build: Build, theta: Tree, x: Tree, of_start: list) -> Tree:
  """Computes what `of_start` adds to dL/dtheta when the segment's first state was `build(theta).init(x)`.

  Optimizers may learn their first state.
  """
  _, vjp = jax.vjp(lambda theta: _divide(build(theta).init(x))[0], theta)
  return vjp(of_start)[0]


def mean_gradient(gradients: Tree, *, largest: float = 0.0) -> Tree:
  """Averages the meta-gradients of several optimizations: leaves [B, ...] -> [...].

  One that is not finite is left out, so that an optimization that is lost does not stop the others; where
  none is finite the mean is NaN.

  Args:
    gradients: a tree like theta, with a leading axis.
    largest: norm over the tree to which each is clipped first, if over 0: the norms of PES grow a
      hundredfold along an optimization, and the mean would be that of the latest alone.
  """
  rows = [jnp.sum(g.reshape(g.shape[0], -1) ** 2, axis=1) for g in jax.tree.leaves(gradients)]
  norm = jnp.sqrt(sum(rows))
  good = jnp.isfinite(norm)
  factor = jnp.minimum(largest / jnp.maximum(norm, 1e-30), 1.0) if largest else jnp.ones_like(norm)

  def mean(g):
    wide = (-1, *(1,) * (g.ndim - 1))
    return jnp.sum(jnp.where(good.reshape(wide), factor.reshape(wide) * g, 0.0), 0) / jnp.sum(good)

  return jax.tree.map(mean, gradients)


def trajectory(
  tx: optax.GradientTransformation,
  loss: Callable[[Tree, jax.Array], jax.Array],
  x: Tree,
  state: Tree,
  keys: jax.Array,
) -> tuple[Tree, Tree, jax.Array]:
  """Takes T steps without a meta-gradient; `keys` [T + 1] draw one minibatch each.

  Returns:
    x_T, state_T and the losses f_t(x_t) [T + 1], or [T + 1, B] side by side.
  """

  def step(carry, key):
    x, state = carry
    value, gradient = values_and_gradient(loss, x, key)
    delta, state = tx.update(gradient, state, x)
    return (optax.apply_updates(x, delta), state), value

  (x, state), values = jax.lax.scan(step, (x, state), keys[:-1])
  return x, state, jnp.concatenate([values, loss(x, keys[-1])[None]])


def values_and_gradient(loss: Loss, x: Tree, key: jax.Array) -> tuple[jax.Array, Tree]:
  """Computes (loss, its gradient); side by side: (the losses [B], each one's gradient in its place)."""

  def total(x):
    values = loss(x, key)
    return jnp.sum(values), values

  gradient, values = jax.grad(total, has_aux=True)(x)
  return values, gradient


def _weighted(weight: jax.Array, gradient: Tree) -> Tree:
  """`weight`, a scalar or [B], times leaves [B, ...]."""
  return jax.tree.map(lambda g: weight.reshape(weight.shape + (1,) * (g.ndim - weight.ndim)) * g, gradient)


def _scan_in_blocks(step, carry, keys, every):
  """(last carry, carries before the steps 0, every, 2 every, ..., outputs [T, ...])."""
  if keys.shape[0] % every:
    raise ValueError(f"save_every={every} does not divide the {keys.shape[0]} steps of a segment")

  def block(carry, keys):
    end, outputs = jax.lax.scan(step, carry, keys)
    return end, (carry, outputs)

  if every == 1:
    end, (starts, outputs) = jax.lax.scan(lambda c, key: _with_start(c, *step(c, key)), carry, keys)
    return end, starts, outputs
  end, (starts, outputs) = jax.lax.scan(block, carry, keys.reshape(-1, every, *keys.shape[1:]))
  return end, starts, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), outputs)


def _with_start(start, end, outputs):
  return end, (start, outputs)


def _divide(state: Tree) -> tuple[list, list]:
  """(float leaves, others), each with None in the other's places."""
  leaves, structure = jax.tree.flatten(state)
  is_float = [jnp.issubdtype(x.dtype, jnp.floating) for x in leaves]
  floats = [x if yes else None for x, yes in zip(leaves, is_float, strict=True)]
  others = [None if yes else x for x, yes in zip(leaves, is_float, strict=True)]
  return floats, [others, structure]


def _join(floats: list, rest: list) -> Tree:
  others, structure = rest
  return structure.unflatten([o if f is None else f for f, o in zip(floats, others, strict=True)])
