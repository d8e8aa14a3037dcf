"""The controller against closed forms: probabilities that sum to 1, exact gradients, masked tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from search.small import SPACE, all_architectures, one_token

from vita_jax.losses.reinforce import Baseline
from vita_jax.search import (
  Learner,
  cost_aware,
  evaluate,
  greedy,
  init_controller,
  init_learner,
  learn,
  sample,
)


def _theta(key=0):
  theta = init_controller(jax.random.key(key), SPACE, hidden=8)
  return {**theta, "kernel": 100 * theta["kernel"], "bias": jax.random.normal(jax.random.key(9), (3, 3))}


def test_the_probabilities_of_all_architectures_sum_to_one():
  every = jnp.asarray(all_architectures())
  for theta in (_theta(), None):
    found = jax.vmap(lambda one, theta=theta: evaluate(one, SPACE, theta))(every)
    np.testing.assert_allclose(jnp.sum(jnp.exp(found.log_prob)), 1, atol=1e-6)
    # The entropy of a sequence is what its tokens' entropies are on average.
    whole = -jnp.sum(jnp.exp(found.log_prob) * found.log_prob)
    np.testing.assert_allclose(jnp.sum(jnp.exp(found.log_prob) * found.entropy), whole, rtol=1e-5)


def test_a_draw_has_the_probability_that_its_tokens_are_given():
  theta = _theta()
  drawn = jax.vmap(lambda key: sample(key, SPACE, theta))(jax.random.split(jax.random.key(1), 2000))
  again = jax.vmap(lambda one: evaluate(one, SPACE, theta))(drawn.tokens)
  np.testing.assert_allclose(again.log_prob, drawn.log_prob, atol=1e-6)
  every = all_architectures()
  wanted = np.exp(jax.vmap(lambda one: evaluate(one, SPACE, theta).log_prob)(jnp.asarray(every)))
  shares = [(np.asarray(drawn.tokens) == one).all(axis=1).mean() for one in every]
  np.testing.assert_allclose(shares, wanted, atol=0.04)  # 3.5 standard errors of 2,000 draws
  best = greedy(SPACE, theta)
  np.testing.assert_allclose(best.log_prob, evaluate(best.tokens, SPACE, theta).log_prob, atol=1e-6)


def test_the_gradient_is_that_of_the_expected_reward():
  theta, every = _theta(), jnp.asarray(all_architectures())
  rewards = jax.random.normal(jax.random.key(3), (len(every),))

  def log_probs(theta):
    return jax.vmap(lambda one: evaluate(one, SPACE, theta).log_prob)(every)

  def expected(theta):
    return jnp.sum(jnp.exp(log_probs(theta)) * rewards)

  p = jax.lax.stop_gradient(jnp.exp(log_probs(theta)))
  estimate = jax.jit(jax.grad(lambda theta: jnp.sum(p * rewards * log_probs(theta))))(theta)
  with jax.enable_x64(True):
    wide = jax.tree.map(lambda x: jnp.asarray(np.asarray(x), jnp.float64), theta)
    value = jax.jit(expected)
    rng = np.random.default_rng(0)
    for name in ("bias", "kernel", "embedding"):
      for _ in range(6):
        place = tuple(rng.integers(0, n) for n in theta[name].shape)
        up, down = ({**wide, name: wide[name].at[place].add(d)} for d in (1e-5, -1e-5))
        difference = (float(value(up)) - float(value(down))) / 2e-5
        np.testing.assert_allclose(estimate[name][place], difference, atol=2e-6, err_msg=f"{name}{place}")


def test_what_is_masked_or_dead_gets_exactly_no_gradient():
  theta = _theta()

  def loss(theta, tokens):
    found = evaluate(tokens, SPACE, theta)
    return found.log_prob + found.entropy

  slope = jax.jit(jax.grad(loss))
  dead = slope(theta, jnp.array([1, 0, 0]))  # the third token is dead
  assert not np.asarray(dead["kernel"][2]).any() and not np.asarray(dead["bias"][2]).any()
  live = slope(theta, jnp.array([1, 1, 2]))
  assert np.asarray(live["bias"][2]).all()
  for grads in (dead, live):
    assert grads["bias"][0, 0] == 0 and not np.asarray(grads["kernel"][0, :, 0]).any()  # value 0 of the first
    assert grads["bias"][1, 2] == 0 and np.asarray(grads["bias"][1, :2]).all()
    assert all(np.isfinite(np.asarray(x)).all() for x in jax.tree.leaves(grads))


def test_a_two_armed_bandit_is_solved():
  space, optimizer = one_token(), optax.adam(0.01)
  learner = init_learner(jax.random.key(0), space, optimizer, hidden=8)

  def step(learner, key):
    drawn = jax.vmap(lambda k: sample(k, space, learner.theta).tokens)(jax.random.split(key, 4))
    rewards = (drawn[:, 0] == 0).astype(jnp.float32)
    return learn(learner, space, drawn, rewards, optimizer=optimizer), jnp.mean(rewards)

  learner, means = jax.jit(lambda x: jax.lax.scan(step, x, jax.random.split(jax.random.key(1), 500)))(learner)
  assert float(jnp.exp(evaluate(jnp.array([0]), space, learner.theta).log_prob)) > 0.95
  assert means[-50:].mean() > means[:50].mean()


def test_the_baseline_starts_at_the_first_mean_and_moves_after_the_advantage():
  space, optimizer = one_token(), optax.sgd(1.0)
  learner = init_learner(jax.random.key(0), space, optimizer, hidden=4)
  tokens = jnp.array([[0], [1]])

  @jax.jit
  def step(learner, rewards):
    return learn(learner, space, tokens, rewards, optimizer=optimizer, entropy_weight=0.0, decay=0.9)

  once = step(learner, jnp.array([1.0, 3.0]))
  assert float(once.baseline.value) == 2.0
  moved = once.theta["bias"][0] - learner.theta["bias"][0]
  # A = (-1, 1), uniform: the bias moves by mean_i A_i (onehot_i - 1/2) = (-1/2, 1/2).
  np.testing.assert_allclose(moved, [-0.5, 0.5], atol=1e-3)
  twice = step(once, jnp.array([4.0, 4.0]))
  np.testing.assert_allclose(twice.baseline.value, 0.9 * 2 + 0.1 * 4, rtol=1e-6)
  flat = Learner(learner.theta, learner.tx, Baseline(jnp.asarray(4.0), jnp.ones(())))
  same = step(flat, jnp.array([4.0, 4.0])).theta  # no advantage, no move
  assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (same, learner.theta)), strict=True))


def test_what_all_rewards_of_a_batch_share_says_nothing_beside_the_others():
  """A_i = R_i - mean of the other R_j, which an easy batch does not move."""
  space, optimizer = one_token(), optax.sgd(1.0)
  learner = init_learner(jax.random.key(0), space, optimizer, hidden=4)
  tokens = jnp.array([[0], [1], [1]])

  @jax.jit
  def moved(rewards):
    new = learn(learner, space, tokens, rewards, optimizer=optimizer, entropy_weight=0.0, baseline="others")
    return new.theta["bias"][0] - learner.theta["bias"][0], new.baseline.value

  rewards = jnp.array([1.0, 3.0, 5.0])
  found, average = moved(rewards)
  # A = (-3, 0, 3), uniform: mean_i A_i (onehot_i - 1/2) = (-1, 1).
  np.testing.assert_allclose(found, [-1, 1], atol=2e-2)
  assert average == 3
  np.testing.assert_allclose(moved(rewards + 8)[0], found, atol=1e-5)
  with pytest.raises(ValueError, match="there is one architecture: give at least 2"):
    learn(learner, space, tokens[:1], rewards[:1], optimizer=optimizer, baseline="others")
  with pytest.raises(ValueError, match="unknown baseline 'other': did you mean 'others'"):
    learn(learner, space, tokens, rewards, optimizer=optimizer, baseline="other")


def test_a_reward_counts_cost_only_beyond_the_target():
  found = cost_aware(jnp.full(3, 0.5), jnp.array([1.0, 2.0, 8.0]), target=2.0, beta=0.5)
  np.testing.assert_allclose(found, [0.5, 0.5, 0.25])
  np.testing.assert_allclose(cost_aware(jnp.full(3, 0.5), jnp.ones(3), target=0.0), 0.5)
