"""An optimization in progress, and which random numbers it draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from vita_jax.optim import KINDS
from vita_jax.optim.optimizees import Optimizee

Tree = Any
# One stream of random numbers per purpose: nothing that is trained on is validated on.
INIT, TRAIN, TEACHER, COIN, VALIDATION_INIT, VALIDATION, FINAL = range(7)
FAMILY, LENGTH, FACTORS, PERTURBATION = range(7, 11)


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
    factors: like x; the problem is f(factors x): see `mixture.reparametrise`. () where there are none.
    twin: with PES the (x, tx) that the opposite perturbations lead to, beside those above; else ().
    noise: with PES the sum of the perturbations of theta since the optimization began; else ().
    age, length: int32 scalars, segments that were taken, and how many there are in all.
  """

  x: Tree
  tx: Tree
  teachers: dict[str, Tree]
  first_loss: jax.Array
  factors: Tree = ()
  twin: Tree = ()
  noise: Tree = ()
  age: Any = 0
  length: Any = 0


class Problem(NamedTuple):
  """An optimizee in the form an optimizer of one kind works on.

  Attributes:
    init: `key -> x`.
    loss: `arrays -> ((x, key of the minibatch) -> scalar)`.
    unravel: `x -> params` of the optimizee.
    build: `(theta, key) -> optax transformation`.
    factors: `(key, largest) -> tree like x`: one per tensor, log-uniform from 1 / largest to largest.
  """

  init: Callable[[jax.Array], Tree]
  loss: Callable[[Any], Callable[[Tree, jax.Array], jax.Array]]
  unravel: Callable[[Tree], Tree]
  build: Callable[[Tree, jax.Array], optax.GradientTransformationExtraArgs]
  factors: Callable[[jax.Array, float], Tree]


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

  def factors(key, largest):
    shapes, structure = jax.tree.flatten(jax.eval_shape(optimizee.init, key))
    bound = math.log(largest)
    logs = jax.random.uniform(key, (len(shapes),), minval=-bound, maxval=bound)
    leaves = [jnp.full(s.shape, jnp.exp(u)) for s, u in zip(shapes, logs, strict=True)]
    tree = jax.tree.unflatten(structure, leaves)
    return ravel_pytree(tree)[0] if entry.coordinatewise else tree

  one = Problem(init, loss, unravel, build, factors)
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

  def factors(key, largest):
    return jax.vmap(lambda key: one.factors(key, largest))(jax.random.split(key, n))

  return Problem(init, loss, jax.vmap(one.unravel), build if vmap_build else one.build, factors)


def _scalar(loss: jax.Array) -> jax.Array:
  if jnp.ndim(loss):
    raise ValueError(f"the optimizee's loss has shape {jnp.shape(loss)}: average it over the minibatch")
  return loss


def loss_of(problem: Problem, task: Task, arrays: Any) -> Callable[[Tree, jax.Array], jax.Array]:
  """Returns the loss of an optimization as a function of its x: f(factors x) where it is reparametrised."""
  loss = problem.loss(arrays)
  if isinstance(task.factors, tuple) and not task.factors:
    return loss
  return lambda x, key: loss(jax.tree.map(jnp.multiply, task.factors, x), key)
