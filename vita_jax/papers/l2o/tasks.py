"""An optimization in progress, and which random numbers it draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from vita_jax.optim import KINDS
from vita_jax.optim.optimizees import Optimizee
from vita_jax.papers.l2o.segment import values_and_gradient

Tree = Any
# One stream of random numbers per purpose: nothing that is trained on is validated on.
INIT, TRAIN, TEACHER, COIN, VALIDATION_INIT, VALIDATION, FINAL = range(7)


def stream(key: jax.Array, tag: int, *numbers: Any) -> jax.Array:
  """Returns the key of a purpose and of counters within it."""
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
  """Puts an optimizee into the form for a kind of `vita_jax.optim.KINDS`.

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
  init, unravel = _as_vector(optimizee) if entry.coordinatewise else (optimizee.init, lambda x: x)

  def loss(arrays):
    return lambda x, key: _scalar(optimizee.loss(unravel(x), optimizee.sample(arrays, key, batch_size)))

  def build(theta, key):
    return entry.build(theta, **options, **({"key": key} if entry.learns_start else {}))

  one = Problem(init, loss, unravel, build)
  # Coordinates of B problems are just more coordinates: a coordinate-wise optimizer needs no vmap.
  return _together(one, side_by_side, vmap_build=not entry.coordinatewise) if side_by_side else one


def _as_vector(optimizee: Optimizee) -> tuple[Callable[[jax.Array], jax.Array], Callable[[jax.Array], Tree]]:
  """(init, unravel) with all parameters as one vector: few large products instead of many small ones."""
  shapes = jax.eval_shape(optimizee.init, jax.random.key(0))
  _, unravel = ravel_pytree(jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes))
  return lambda key: ravel_pytree(optimizee.init(key))[0], unravel


def _together(one: Problem, n: int, *, vmap_build: bool) -> Problem:
  """`n` independent optimizations side by side as one problem."""

  def init(key):
    return jax.vmap(one.init)(jax.random.split(key, n))

  def loss(arrays):
    return lambda x, key: jax.vmap(one.loss(arrays))(x, jax.random.split(key, n))

  def build(theta, key):
    def start(x):
      return jax.vmap(lambda x, key: one.build(theta, key).init(x))(x, jax.random.split(key, n))

    def update(g, state, x):
      return one.build(theta, key).update(g, state, x)

    return optax.GradientTransformation(start, jax.vmap(update))

  return Problem(init, loss, jax.vmap(one.unravel), build if vmap_build else one.build)


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
