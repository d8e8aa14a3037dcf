"""REINFORCE (Williams, Machine Learning 8, 1992): the gradient of an expected reward from sampled actions.

Decisions of a rollout stand on the leading axis: [steps]. Actions come from `vita_jax.nn.policy` or any other
model that gives log-probabilities.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.losses.xent import weighted_mean


class Baseline(NamedTuple):
  """An exponential average of returns, the start value of which has no part in it.

  Attributes:
    total: float32, the average times (1 - decay^count).
    share: float32, 1 - decay^count: the weight of what has been seen.
  """

  total: jax.Array
  share: jax.Array

  @property
  def value(self) -> jax.Array:
    """The average, float32; 0 before the first update."""
    return jnp.where(self.share > 0, self.total / jnp.maximum(self.share, 1e-8), 0.0)


def init_baseline() -> Baseline:
  """Returns a baseline that has seen nothing: its value is 0."""
  return Baseline(jnp.zeros(()), jnp.zeros(()))


def update_baseline(baseline: Baseline, returns: jax.Array, *, decay: float = 0.9) -> Baseline:
  """Adds the mean of the returns of a rollout: b <- decay b + (1 - decay) mean(returns), from no start value.

  Examples:
    >>> once = update_baseline(init_baseline(), jnp.array([1.0, 3.0]))
    >>> twice = update_baseline(once, jnp.array([4.0]), decay=0.5)
    >>> round(float(once.value), 4), round(float(twice.value), 4)
    (2.0, 3.8182)
  """
  new = jnp.mean(returns)
  return Baseline(decay * baseline.total + (1 - decay) * new, decay * baseline.share + (1 - decay))


def discounted_returns(rewards: jax.Array, gamma: float) -> jax.Array:
  """Computes R_i = r_i + gamma R_{i+1}: float [steps] -> the same.

  Raises:
    ValueError: a reward that is not finite, unless it is traced; gamma outside [0, 1].

  Examples:
    >>> discounted_returns(jnp.array([1.0, 2.0, 4.0]), 0.5).tolist()
    [3.0, 4.0, 4.0]
  """
  if not 0 <= gamma <= 1:
    raise ValueError(f"gamma is {gamma}: it must be a finite number, from 0 to 1")
  if not isinstance(rewards, jax.core.Tracer) and not np.isfinite(np.asarray(rewards)).all():
    first = int(np.flatnonzero(~np.isfinite(np.asarray(rewards)))[0])
    raise ValueError(
      f"reward {first} is {rewards[first]}: the loss it comes from is not finite; lower the rate"
    )

  def step(later: jax.Array, reward: jax.Array) -> tuple[jax.Array, jax.Array]:
    now = reward + gamma * later
    return now, now

  return jax.lax.scan(step, jnp.zeros((), rewards.dtype), rewards, reverse=True)[1]


def advantages(returns: jax.Array, baseline: Baseline | None = None, *, scaled: bool = False) -> jax.Array:
  """Computes R - b, [steps]; `scaled` takes the rollout's own mean away and divides by its deviation.

  The deviation is that of the population, plus 1e-5: equal returns give zeros. `scaled` is for decisions that
  do not act on each other's rewards: with gamma 0 an action's later rewards would count against it.

  Examples:
    >>> advantages(jnp.array([1.0, 3.0]), scaled=True).round(3).tolist()
    [-1.0, 1.0]
  """
  if baseline is not None:
    returns = returns - baseline.value
  if not scaled:
    return returns
  return (returns - jnp.mean(returns)) / (jnp.std(returns) + 1e-5)


def reinforce_loss(
  log_probs: jax.Array,
  returns: jax.Array,
  *,
  entropy: jax.Array | None = None,
  entropy_weight: float = 0.0,
  weights: jax.Array | None = None,
) -> jax.Array:
  """Computes -mean_i(R_i ln π(a_i)) - entropy_weight mean(entropy), a float32 scalar.

  Its gradient is minus an unbiased estimate of that of the expected return. No gradient reaches the returns.

  Args:
    log_probs: [steps], of joint actions: summed, not averaged, over the groups of one decision.
    returns: [steps], or advantages.
    entropy: of the policy at each step, [steps, ...]; needed with an entropy weight.
    entropy_weight: pays for staying random.
    weights: 0/1 [steps]: decisions that are counted, where a buffer is not full; default: all.

  Raises:
    ValueError: unlike shapes, or an entropy weight without entropy.

  Examples:
    >>> float(reinforce_loss(jnp.log(jnp.array([0.5, 0.25])), jnp.array([1.0, 0.0])))  # ln 2 / 2
    0.3465735912322998
  """
  if log_probs.ndim != 1 or log_probs.shape != returns.shape:
    raise ValueError(
      f"log_probs and returns must be of one length, they are {log_probs.shape} and {returns.shape}"
    )
  if entropy is None and entropy_weight:
    raise ValueError(f"entropy_weight is {entropy_weight}: give the entropy of each step, too")
  weights = jnp.ones(log_probs.shape) if weights is None else weights
  loss = -weighted_mean(jax.lax.stop_gradient(returns) * log_probs, weights)
  if entropy is None:
    return loss
  of_steps = jnp.mean(entropy.reshape(entropy.shape[0], -1), axis=1)
  return loss - entropy_weight * weighted_mean(of_steps, weights)
