"""What a decision is compared with, and which controller is kept."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np

from vita_jax.losses.reinforce import Baseline
from vita_jax.papers.asg import controller

KEYS = SimpleNamespace(baseline=True, scaled=False)
UNSEEN = Baseline(jnp.zeros(3), jnp.zeros(3))


def test_rewards_that_rise_along_an_episode_whatever_is_done_credit_no_decision():
  """One average of all would call the late decisions good and the early ones bad."""
  rising = jnp.array([[0.1, 0.4, 0.7]])
  seen = Baseline(0.5 * rising[0], jnp.full(3, 0.5))
  np.testing.assert_allclose(controller.advantages(KEYS, seen, rising), np.zeros((1, 3)), atol=1e-6)
  better = rising + jnp.array([[0.0, 0.02, 0.0]])
  np.testing.assert_allclose(controller.advantages(KEYS, seen, better), [[0, 0.02, 0]], atol=1e-6)


def test_before_a_decision_was_seen_episodes_are_compared_with_each_other():
  two = jnp.array([[0.1, 0.4, 0.7], [0.3, 0.4, 0.5]])
  found = controller.advantages(KEYS, UNSEEN, two)
  np.testing.assert_allclose(found, [[-0.1, 0, 0.1], [0.1, 0, -0.1]], atol=1e-6)
  assert not np.any(controller.advantages(KEYS, UNSEEN, two[:1]))


def test_scaling_keeps_the_sign_of_every_advantage():
  """A first action that lifts all later rewards is not counted against for it."""
  keys = SimpleNamespace(baseline=True, scaled=True)
  seen = Baseline(jnp.zeros(3), jnp.ones(3))
  found = np.asarray(controller.advantages(keys, seen, jnp.array([[0.01, 0.02, 0.03]])))
  assert (found > 0).all()
  np.testing.assert_allclose(np.sqrt(np.mean(np.square(found))), 1, rtol=1e-2)
  nothing = SimpleNamespace(baseline=False, scaled=False)
  np.testing.assert_array_equal(controller.advantages(nothing, seen, jnp.ones((1, 3))), np.ones((1, 3)))


def _judged(rewards, wanted):
  """The controllers kept after each of several episodes with these mean rewards; theta is the episode."""
  meta = {"last": jnp.full(controller.AVERAGED, -jnp.inf), "best": jnp.asarray(-jnp.inf), "count": 1.0}
  meta["best_theta"], kept = jnp.asarray(0), []
  for i, reward in enumerate(rewards, start=1):
    meta = controller._judged(wanted, {**meta, "theta": jnp.asarray(i), "sum": jnp.asarray(reward)})
    kept.append(int(meta["best_theta"]))
  return kept


def test_one_lucky_episode_at_the_start_is_not_the_best_controller():
  assert _judged([0.9, 0.1, 0.2, 0.3, 0.4, 0.6], 3) == [0, 0, 3, 3, 3, 6]
  assert _judged([0.2, 0.3], 2) == [0, 2]  # fewer episodes than are averaged
