"""REINFORCE on spaces that can be enumerated: the exact gradient, and a bandit that it solves."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vita_jax.losses import reinforce
from vita_jax.nn import policy as policies
from vita_jax.nn.policy import CategoricalPolicy

POLICY = CategoricalPolicy(2, actions=3, hidden=4, observations=2)
OBSERVATION, ONES = jnp.array([0.3, -0.7]), jnp.ones(2)
ALL = jnp.array([[a, b] for a in range(3) for b in range(3)])
REWARDS = jnp.array([0.1, 0.5, -0.2, 1.0, 0.3, 0.0, 0.7, -0.4, 0.2])  # of each joint action


@pytest.fixture(scope="module")
def theta():
  drawn = POLICY.init(jax.random.key(0), OBSERVATION, ONES, POLICY.initial_state())
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda x: x + jnp.asarray(0.3 * rng.normal(size=x.shape), jnp.float32), drawn)


def _logits(theta):
  return POLICY.apply(theta, OBSERVATION, ONES, POLICY.initial_state())[0]


def _expected_reward(theta):
  """Enumerated: sum of π(a) r(a)."""
  log_p = policies.log_prob(jnp.broadcast_to(_logits(theta), (9, 2, 3)), ALL)
  return jnp.sum(jnp.exp(log_p) * REWARDS)


def _loss(theta, actions, returns, **options):
  logits = jnp.broadcast_to(_logits(theta), (len(actions), 2, 3))
  return reinforce.reinforce_loss(policies.log_prob(logits, actions), returns, **options)


def _close(found, expected, tolerance):
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, atol=tolerance)


def test_the_mean_gradient_is_the_exact_one(theta):
  """All actions weighted by their probability, and a mean over draws, with a baseline and without."""
  exact = jax.grad(_expected_reward)(theta)
  p = jnp.exp(policies.log_prob(jnp.broadcast_to(_logits(theta), (9, 2, 3)), ALL))
  for shift in (0.0, 5.0):  # a constant baseline changes nothing
    weighted = jax.grad(lambda t, s=shift: 9 * _loss(t, ALL, p * (REWARDS - s)))(theta)
    _close(jax.tree.map(jnp.negative, weighted), exact, 1e-5)
  drawn = policies.sample(jax.random.key(1), jnp.broadcast_to(_logits(theta), (40_000, 2, 3)))
  returns = REWARDS[3 * drawn[:, 0] + drawn[:, 1]]
  estimate = jax.jit(jax.grad(_loss))(theta, drawn, returns)
  _close(jax.tree.map(jnp.negative, estimate), exact, 5 * 0.7 / 200)  # 5 deviations of the mean
  halved = jax.grad(_loss)(theta, drawn, returns - jnp.mean(returns))
  _close(jax.tree.map(jnp.negative, halved), exact, 5 * 0.7 / 200)


def test_a_bandit_is_solved():
  """Reward 1 for the last action of the last group only."""
  policy = CategoricalPolicy(7, hidden=4)
  zeros, state = jnp.zeros(5), policy.initial_state()
  theta = jax.jit(policy.init)(jax.random.key(0), zeros, jnp.ones(7), state)
  tx = optax.adam(0.02)

  def logits_of(theta):
    return policy.apply(theta, zeros, jnp.ones(7), state)[0]

  @jax.jit
  def train(theta):
    def step(carry, key):
      theta, opt_state, baseline = carry
      actions = policies.sample(key, jnp.broadcast_to(logits_of(theta), (8, 7, 11)))
      rewards = (actions[:, -1] == 10).astype(jnp.float32)

      def loss(theta):
        logits = jnp.broadcast_to(logits_of(theta), (8, 7, 11))
        found = reinforce.advantages(rewards, baseline)
        return reinforce.reinforce_loss(policies.log_prob(logits, actions), found)

      updates, opt_state = tx.update(jax.grad(loss)(theta), opt_state)
      baseline = reinforce.update_baseline(baseline, rewards)
      return (optax.apply_updates(theta, updates), opt_state, baseline), None

    start = theta, tx.init(theta), reinforce.init_baseline()
    return jax.lax.scan(step, start, jax.random.split(jax.random.key(2), 300))[0]

  theta, _, baseline = train(theta)
  p = jax.nn.softmax(logits_of(theta))
  assert p[-1, 10] > 0.8 and baseline.value > 0.7
  assert p[0].max() < 0.8  # no reward depends on the other groups


def test_returns_are_discounted_from_the_end():
  rewards = jnp.array([1.0, 2.0, 4.0])
  np.testing.assert_array_equal(reinforce.discounted_returns(rewards, 0.0), rewards)
  np.testing.assert_array_equal(reinforce.discounted_returns(rewards, 1.0), [7.0, 6.0, 4.0])
  with pytest.raises(
    ValueError, match=r"reward 1 is nan: the loss it comes from is not finite; lower the rate"
  ):
    reinforce.discounted_returns(jnp.array([1.0, jnp.nan]), 0.5)
  with pytest.raises(ValueError, match="gamma is 1.5: it must be a finite number, from 0 to 1"):
    reinforce.discounted_returns(rewards, 1.5)


def test_a_baseline_begins_with_what_it_sees():
  baseline = reinforce.init_baseline()
  assert float(baseline.value) == 0.0
  for returns, expected in (([3.0], 3.0), ([3.0], 3.0), ([5.0], (0.271 - 0.1) / 0.271 * 3 + 0.1 / 0.271 * 5)):
    baseline = reinforce.update_baseline(baseline, jnp.array(returns))
    assert float(baseline.value) == pytest.approx(expected, rel=1e-5)
  np.testing.assert_allclose(
    reinforce.advantages(jnp.array([1.0, 9.0]), baseline), [1 - expected, 9 - expected]
  )


def test_scaled_advantages_have_mean_0_and_deviation_1():
  found = reinforce.advantages(jnp.array([0.2, 0.4, 0.9, -1.0]), scaled=True)
  assert float(jnp.mean(found)) == pytest.approx(0, abs=1e-6)
  assert float(jnp.std(found)) == pytest.approx(1, rel=1e-3)
  assert not np.any(reinforce.advantages(jnp.full(4, 0.3), scaled=True))


def test_entropy_pays_and_rows_may_be_left_out(theta):
  log_probs, returns = jnp.log(jnp.array([0.5, 0.25, 0.1])), jnp.array([1.0, 2.0, 3.0])
  plain = float(reinforce.reinforce_loss(log_probs[:2], returns[:2]))
  assert plain == pytest.approx((np.log(2) + 2 * np.log(4)) / 2)
  weights = jnp.array([1.0, 1.0, 0.0])
  assert float(reinforce.reinforce_loss(log_probs, returns, weights=weights)) == pytest.approx(plain)
  entropy = jnp.array([[1.0, 2.0], [3.0, 4.0], [100.0, 100.0]])
  paid = reinforce.reinforce_loss(log_probs, returns, entropy=entropy, entropy_weight=0.1, weights=weights)
  assert float(paid) == pytest.approx(plain - 0.1 * 2.5)

  def loss(returns):
    return reinforce.reinforce_loss(log_probs, returns)

  assert not np.any(jax.grad(loss)(returns))  # rewards are no function of theta
  with pytest.raises(ValueError, match=r"entropy_weight is 0.1: give the entropy of each step"):
    reinforce.reinforce_loss(log_probs, returns, entropy_weight=0.1)
  with pytest.raises(ValueError, match="must be of one length"):
    reinforce.reinforce_loss(log_probs, returns[:2])
