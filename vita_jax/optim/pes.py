"""Persistent evolution strategies: a meta-gradient without back-propagation, and without truncation bias.

Two optimizations go side by side, one with theta + e_k and one with theta - e_k in segment k; e_k is drawn
anew in every segment. Both are carried over segments. The gradient that a segment gives is

    (e_1 + ... + e_k) (L_k+ - L_k-) / (2 sigma^2),

whose expectation is that of dL_k/dtheta through all segments so far, of the loss smoothed by the noise. A
truncated gradient knows the last segment alone. Source: Vicol, Metz, Sohl-Dickstein 2021, "Unbiased gradient
estimation in unrolled computation graphs with persistent evolution strategies", arXiv 2112.13835, antithetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vita_jax.optim.segment import Build, Loss, trajectory

Tree = Any


class Estimate(NamedTuple):
  """What a segment gives.

  Attributes:
    gradient: a tree like theta.
    loss: float32 scalar, the mean of the two segments' losses.
    plus, minus: (x, state of the optimizer) where the two optimizations ended.
    noise: the sum of the perturbations so far, like theta.
    losses: float32 [T + 1] (or [T + 1, B] side by side), means of the two.
  """

  gradient: Tree
  loss: jax.Array
  plus: tuple[Tree, Tree]
  minus: tuple[Tree, Tree]
  noise: Tree
  losses: jax.Array


def perturbation(key: jax.Array, theta: Tree, sigma: float) -> Tree:
  """Draws a tree like theta, normal with deviation sigma."""
  leaves, structure = jax.tree.flatten(theta)
  keys = jax.random.split(key, len(leaves))
  draws = [sigma * jax.random.normal(k, jnp.shape(x), x.dtype) for k, x in zip(keys, leaves, strict=True)]
  return jax.tree.unflatten(structure, draws)


def persistent(
  build: Build,
  theta: Tree,
  loss: Loss,
  plus: tuple[Tree, Tree],
  minus: tuple[Tree, Tree],
  noise: Tree,
  keys: jax.Array,
  *,
  step: Tree,
  sigma: float,
  meta_loss: Callable[[jax.Array], jax.Array] = jnp.sum,
) -> Estimate:
  """Takes a segment of both optimizations, on the same minibatches.

  Args:
    build: theta -> optax transformation whose updates are added.
    theta: weights of the optimizer.
    loss: of the optimizee; every key draws a fresh minibatch.
    plus: (x, state) of the optimization that follows theta + e.
    minus: of the other.
    noise: sum of the perturbations since both began at one place; zeros there.
    keys: [T + 1].
    step: e of this segment, see `perturbation`; of mean 0 and covariance sigma^2.
    sigma: its deviation.
    meta_loss: of the T + 1 losses.
  """

  def play(sign, start):
    moved = jax.tree.map(lambda t, e: t + sign * e, theta, step)
    x, state, losses = trajectory(build(moved), loss, start[0], start[1], keys)
    return (x, state), losses

  (plus, up), (minus, down) = play(1.0, plus), play(-1.0, minus)
  values = meta_loss(up), meta_loss(down)
  noise = jax.tree.map(jnp.add, noise, step)
  slope = (values[0] - values[1]) / (2.0 * sigma**2)
  gradient = jax.tree.map(lambda e: slope * e, noise)
  return Estimate(gradient, 0.5 * (values[0] + values[1]), plus, minus, noise, 0.5 * (up + down))
