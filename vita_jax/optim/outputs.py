"""What may be put around any optimizer whose updates are added: a rate, decay of weights, oddness."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vita_jax.base.keys import at_least
from vita_jax.optim.leaves import Tree, check_number, zero_like


class OddState(NamedTuple):
  """States of the optimizer that sees the gradients, and of the one that sees them negated.

  `seen`: trees like the parameters, bool: whether a coordinate ever had a gradient other than zero.
  """

  plus: Any
  minus: Any
  seen: Tree


def make_odd(tx: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
  """Makes an optimizer odd: update = (m(g) - m(-g)) / 2, so that without gradient there is no step at all.

  Both m have states of their own, driven by g and by -g: twice the memory and time. A coordinate that never
  had a gradient other than zero does not move, exactly: it is marked, since two roundings need not agree, and
  an m with layers above the coordinates would move it for others' sake.

  Args:
    tx: m; it may read the parameters.

  Examples:
    >>> import jax.numpy as jnp
    >>> drifts = optax.stateless(lambda g, params: jax.tree.map(lambda g: 0.1 * g + 1.0, g))
    >>> tx = make_odd(drifts)
    >>> [round(float(u), 3) for u in tx.update(jnp.array([2.0, 0.0]), tx.init(jnp.zeros(2)))[0]]
    [0.2, 0.0]
  """
  inner = optax.with_extra_args_support(tx)

  def init(params: Tree) -> OddState:
    nothing = jax.tree.map(lambda x: zero_like(x) != 0.0, params)
    return OddState(inner.init(params), inner.init(params), nothing)

  def update(updates: Tree, state: OddState, params: Tree = None, **extra: Any) -> tuple[Tree, OddState]:
    plus, of_plus = inner.update(updates, state.plus, params, **extra)
    negated = jax.tree.map(lambda g: -g, updates)
    minus, of_minus = inner.update(negated, state.minus, params, **extra)
    seen = jax.tree.map(lambda s, g: s | (g != 0), state.seen, updates)
    found = jax.tree.map(lambda s, a, b: jnp.where(s, 0.5 * (a - b), 0.0 * a), seen, plus, minus)
    return found, OddState(of_plus, of_minus, seen)

  return optax.GradientTransformationExtraArgs(init, update)


def with_rate(
  tx: optax.GradientTransformation, learning_rate: Any = 1.0, weight_decay: Any = 0.0
) -> optax.GradientTransformationExtraArgs:
  """Puts a rate and decoupled decay around an optimizer: update = rate (m(g) - decay p).

  Args:
    tx: m, whose updates are added.
    learning_rate: a number or a schedule of the step.
    weight_decay: a number; with one other than the number 0 `update` needs `params`.

  Raises:
    ValueError: a number that cannot be.
  """
  if not callable(learning_rate):
    check_number("learning_rate", learning_rate, at_least(0))
  check_number("weight_decay", weight_decay, at_least(0))
  parts = [optax.with_extra_args_support(tx)]
  # Only a number of Python is left out: what `inject_hyperparams` gives is traced later on, and the state
  # must stay of one form.
  if not _is(weight_decay, 0):
    parts.append(optax.add_decayed_weights(-weight_decay))
  if not _is(learning_rate, 1):
    parts.append(optax.scale_by_learning_rate(learning_rate, flip_sign=False))
  return optax.with_extra_args_support(optax.chain(*parts)) if len(parts) > 1 else parts[0]


def _is(value: Any, number: int) -> bool:
  return isinstance(value, int | float) and value == number
