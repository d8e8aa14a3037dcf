"""An optimization in progress, and which random numbers it draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from vita_jax.optim import KINDS
from vita_jax.papers.l2o.optimizees import Optimizee
from vita_jax.papers.l2o.segment import values_and_gradient

Tree = Any
# One stream of random numbers per purpose: nothing that is trained on is validated on.
INIT, TRAIN, TEACHER, COIN, VALIDATION_INIT, VALIDATION, FINAL = range(7)


def stream(key: jax.Array, tag: int, *numbers: Any) -> jax.Array:
  """The key of a purpose and of counters within it."""
  for number in (tag, *numbers):
    key = jax.random.fold_in(key, number)
  return key


class Task(NamedTuple):
  """An optimization in progress, or several side by side.

  Attributes:
    x: parameters of the optimizee: one vector for coordinate-wise optimizers, else its tree.
    tx: state of the learned optimizer.
    teachers: name -> state of that teacher.
    first_loss: float32 scalar or [B], f_0(x_0).
  """

  x: Tree
  tx: Tree
  teachers: dict[str, Tree]
  first_loss: jax.Array


class Problem(NamedTuple):
  """An optimizee in the form an optimizer of one kind works on.

  Attributes:
    init: `key -> x`.
    loss: `arrays -> ((x, key of the minibatch) -> scalar)`.
    unravel: `x -> params` of the optimizee.
    build: `(theta, key) -> optax transformation`.
  """

  init: Callable[[jax.Array], Tree]
  loss: Callable[[Any], Callable[[Tree, jax.Array], jax.Array]]
  unravel: Callable[[Tree], Tree]
  build: Callable[[Tree, jax.Array], optax.GradientTransformationExtraArgs]


def problem(
  optimizee: Optimizee, *, batch_size: int, kind: str, side_by_side: int = 0, **options: Any
) -> Problem:
  """The problem for a kind of `vita_jax.optim.KINDS`.

  Args:
    optimizee: what is optimized.
    batch_size: of its minibatches.
    kind: of the optimizer.
    side_by_side: B > 0: B independent optimizations as one: x's leaves are [B, ...], the loss is [B].
    options: of the optimizer's builder.

  Raises (when the loss is first traced):
    ValueError: the optimizee's loss is not a scalar.
  """
  entry = KINDS[kind]
  if entry.coordinatewise:  # one vector: few large products instead of many small ones, the same numbers
    shapes = jax.eval_shape(optimizee.init, jax.random.key(0))
    _, unravel = ravel_pytree(jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes))
    init = lambda key: ravel_pytree(optimizee.init(key))[0]  # noqa: E731
  else:
    init, unravel = optimizee.init, lambda x: x

  def loss(arrays):
    return lambda x, key: _scalar(optimizee.loss(unravel(x), optimizee.sample(arrays, key, batch_size)))

  def build(theta, key):
    return entry.build(theta, **options, **({"key": key} if entry.learns_start else {}))

  if not side_by_side:
    return Problem(init, loss, unravel, build)
  split = lambda key: jax.random.split(key, side_by_side)  # noqa: E731

  def build_all(theta, key):
    start = lambda x, key: build(theta, key).init(x)  # noqa: E731
    update = lambda g, state, x: build(theta, key).update(g, state, x)  # noqa: E731
    return optax.GradientTransformation(lambda x: jax.vmap(start)(x, split(key)), jax.vmap(update))

  return Problem(
    lambda key: jax.vmap(init)(split(key)),
    lambda arrays: lambda x, key: jax.vmap(loss(arrays))(x, split(key)),
    jax.vmap(unravel),
    build if entry.coordinatewise else build_all,  # coordinates of B problems are just more coordinates
  )


def _scalar(loss: jax.Array) -> jax.Array:
  if jnp.ndim(loss):
    raise ValueError(f"the optimizee's loss has shape {jnp.shape(loss)}: average it over the minibatch")
  return loss


def trajectory(
  tx: optax.GradientTransformation,
  loss: Callable[[Tree, jax.Array], jax.Array],
  x: Tree,
  state: Tree,
  keys: jax.Array,
) -> tuple[Tree, Tree, jax.Array]:
  """T steps without a meta-gradient: (x_T, state_T, losses f_t(x_t) [T + 1] or [T + 1, B]); keys [T + 1], one
  minibatch each."""

  def step(carry, key):
    x, state = carry
    value, gradient = values_and_gradient(loss, x, key)
    delta, state = tx.update(gradient, state, x)
    return (optax.apply_updates(x, delta), state), value

  (x, state), values = jax.lax.scan(step, (x, state), keys[:-1])
  return x, state, jnp.concatenate([values, loss(x, keys[-1])[None]])
