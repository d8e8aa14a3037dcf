"""How a controller learns: REINFORCE with an exponential average of rewards as baseline.

    A_i = R_i - B
    loss = -(1/m) sum_i A_i ln pi(a_i) - c_H (1/m) sum_i H(a_i)
    then B <- d B + (1 - d) mean R

B starts as the mean of the first rewards. The advantage is taken before the baseline moves, and no gradient
passes through it, which the released code of AutoGAN gets wrong.

With the baseline "others" A_i = R_i - mean of the other R_j: of an easy batch all of them are large, and that
says nothing of a_i. It is without bias as well, since the other architectures are drawn independently.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vita_jax.base.choose import choose
from vita_jax.losses.reinforce import Baseline, advantages, init_baseline, reinforce_loss, update_baseline
from vita_jax.search.controller import evaluate, init_controller
from vita_jax.search.tokens import TokenSpace

BASELINES = ("average", "others")


class Learner(NamedTuple):
  """A controller while it learns: `theta`, its optimizer's state `tx`, and the baseline."""

  theta: Any
  tx: Any
  baseline: Baseline


def init_learner(
  key: jax.Array, space: TokenSpace, optimizer: optax.GradientTransformation, *, hidden: int = 100
) -> Learner:
  """Draws a controller that has seen no reward."""
  theta = init_controller(key, space, hidden=hidden)
  return Learner(theta, optimizer.init(theta), init_baseline())


def learn(
  learner: Learner,
  space: TokenSpace,
  tokens: jax.Array,
  rewards: jax.Array,
  *,
  optimizer: optax.GradientTransformation,
  entropy_weight: float = 1e-3,
  decay: float = 0.9,
  baseline: str = "average",
) -> Learner:
  """Takes one step on architectures that the controller has drawn.

  Args:
    learner: before the step.
    space: its tokens.
    tokens: int32 [m, T].
    rewards: float32 [m].
    optimizer: that `init_learner` was given.
    entropy_weight: c_H, pays for staying random.
    decay: d, of the baseline.
    baseline: one of `BASELINES`.

  Raises:
    ValueError: an unknown baseline, or "others" with one architecture.
  """
  choose("baseline", baseline, BASELINES)
  seen, m = learner.baseline, len(rewards)
  if baseline == "others" and m < 2:
    raise ValueError("baseline is others, and there is one architecture: give at least 2, or take average")
  new = Baseline(jnp.mean(rewards), jnp.ones(()))  # of share 1: from here on an average with a start value
  average = jax.tree.map(lambda a, b: jnp.where(seen.share > 0, a, b), seen, new)
  others = (rewards - new.total) * m / max(m - 1, 1)  # R_i - (sum R - R_i) / (m - 1)
  gains = others if baseline == "others" else advantages(rewards, average)

  def loss(theta: Any) -> jax.Array:
    found = jax.vmap(lambda one: evaluate(one, space, theta))(tokens)
    return reinforce_loss(found.log_prob, gains, entropy=found.entropy, entropy_weight=entropy_weight)

  updates, tx = optimizer.update(jax.grad(loss)(learner.theta), learner.tx, learner.theta)
  theta = optax.apply_updates(learner.theta, updates)
  return Learner(theta, tx, update_baseline(average, rewards, decay=decay))


def cost_aware(reward: jax.Array, cost: jax.Array, *, target: float, beta: float = 0.07) -> jax.Array:
  """Computes R min(1, F0 / F)^beta: what costs more than `target` is worth less (MnasNet, CVPR 2019).

  Args:
    reward: R.
    cost: F, e.g. multiply-adds, of the same shape.
    target: F0; 0 leaves rewards as they are.
    beta: how much.

  Examples:
    >>> round(float(cost_aware(jnp.array(0.8), jnp.array(4.0), target=1.0, beta=0.5)), 4)
    0.4
  """
  return reward * jnp.minimum(1.0, target / cost) ** beta if target else reward
