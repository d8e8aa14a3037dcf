"""The controller in the graph does what a loop on the host does, and learns where the best is known."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vita_jax.losses import advantages, init_baseline, reinforce_loss, update_baseline
from vita_jax.nn import policy as policies
from vita_jax.nn.policy import CategoricalPolicy
from vita_jax.optim import LayerwiseSettings, layerwise_policy, multipliers_of, velocity_sgd
from vita_jax.optim.windows import window_lengths

LABELS = {"body": "body", "head": "head"}
PARAMS = {"body": jnp.array([1.0, -1.0]), "head": jnp.array([[0.5, 0.25], [0.0, -0.25]])}
POLICY = CategoricalPolicy(2, actions=5, hidden=4)
SETTINGS = LayerwiseSettings(epoch=14, steps=28, head="head", smallest=3, shrink=4, rollout=3, kl_weight=0.5)


def _theta(policy=POLICY, size=0.5):
  drawn = policy.init(jax.random.key(0), jnp.zeros(5), jnp.zeros(policy.groups), policy.initial_state())
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda x: x + jnp.asarray(size * rng.normal(size=x.shape), jnp.float32), drawn)


THETA = _theta()
LOSSES = np.random.default_rng(1).uniform(0.1, 2.0, (28, 2)).astype(np.float32)
ONES = jax.tree.map(jnp.ones_like, PARAMS)


def _run(settings, theta=THETA, losses=LOSSES, key=None):
  """(multipliers that each step used [steps, 2], the states after each step, stacked); the head drifts."""
  tx = layerwise_policy(theta, LABELS, settings, policy=POLICY, key=key)

  def step(carry, given):
    params, state = carry
    updates, state = tx.update(ONES, state, params, loss=given[0], kl=given[1])
    params = {**params, "head": params["head"] + 0.1}
    used = jnp.stack([updates["body"][0], updates["head"][0, 0]])
    return (params, state), (used, state)

  return jax.jit(lambda: jax.lax.scan(step, (PARAMS, tx.init(PARAMS)), jnp.asarray(losses))[1])()


def _by_hand(settings, theta=THETA, losses=LOSSES):
  """The same with Python's loops: (multipliers, observations and rewards of each window, actions)."""
  lengths = window_lengths(
    settings.epoch,
    settings.steps // settings.epoch,
    smallest=settings.smallest,
    shrink=settings.shrink,
    legacy=settings.legacy_window,
  )
  start = POLICY.initial_state()
  memory, now, t = start, np.ones(2, np.float32), 0
  used, observations, totals, actions = [], [], [], []
  for i, length in enumerate(lengths):
    if i:
      memory = start if settings.legacy_memoryless else memory
      logits, memory = POLICY.apply(theta, jnp.asarray(observations[-1]), jnp.asarray(now), memory)
      key = jax.random.fold_in(jax.random.key(0), i - 1)
      drawn = policies.sample(key, logits) if settings.action == "sampled" else jnp.argmax(logits, -1)
      actions.append(np.asarray(drawn))
      now = np.asarray(drawn, np.float32) / 4
    rows = []
    for _ in range(length):
      head = np.asarray(PARAMS["head"]) + 0.1 * t
      rows.append([*losses[t], t / settings.steps, head.mean(), head.std()])
      used.append(now)
      t += 1
    observations.append(np.float32(np.mean(rows, axis=0)))
    totals.append(observations[-1][0] + settings.kl_weight * observations[-1][1])
  return np.array(used), np.array(observations), np.array(totals), np.array(actions)


VARIANTS = {
  "sampled": SETTINGS,
  "likeliest": SETTINGS._replace(action="likeliest"),
  "legacy": SETTINGS._replace(legacy_window=True, legacy_memoryless=True),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_graph_does_what_a_loop_does(variant):
  settings = VARIANTS[variant]
  used, states = _run(settings)
  expected, observations, totals, actions = _by_hand(settings)
  np.testing.assert_allclose(used, expected, atol=1e-6)
  assert len(np.unique(expected)) > 1  # decisions differ
  last = jax.tree.map(lambda x: x[-1], states)
  np.testing.assert_allclose(last.observation, observations[-1], rtol=1e-4, atol=1e-5)
  assert int(last.decisions) == len(actions) and int(last.left) == 0
  assert int(last.before) == 28 and int(last.done) == 0
  # The rollout: its rows hold the last decisions, and the rewards of the windows that they opened.
  rows = (len(actions) - 1) % 3 + 1
  first = len(actions) - rows
  assert int(last.rollout.decided) == int(last.rollout.rewarded) == rows
  np.testing.assert_array_equal(last.rollout.actions[:rows], actions[first:])
  np.testing.assert_allclose(last.rollout.observations[:rows], observations[first:-1], rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(last.rollout.rewards[:rows], np.exp(-totals[first + 1 :]), rtol=1e-4)


def test_a_complete_rollout_gives_the_log_probabilities_it_was_sampled_with():
  """Replayed from its start; and it can be read until the next step begins."""
  _, states = _run(SETTINGS)
  complete = np.flatnonzero(np.asarray(states.rollout.rewarded) == 3)
  assert len(complete) and np.all(np.asarray(states.left)[complete] == 0)
  rollout = jax.tree.map(lambda x: x[complete[-1]], states.rollout)
  logits, memory = policies.replay(POLICY, THETA, rollout.observations, rollout.multipliers, rollout.start)
  after = jax.tree.map(lambda x: x[complete[-1]], states.memory)
  np.testing.assert_allclose(memory[0], after[0], atol=1e-6)
  assert np.abs(rollout.start[0]).max() > 0  # it did not begin at the first decision
  assert np.isfinite(policies.log_prob(logits, rollout.actions)).all()


def test_rewards_have_three_forms():
  _, _, totals, actions = _by_hand(SETTINGS)
  rows = (len(actions) - 1) % 3 + 1
  for reward, expected in (
    ("neg_loss", -totals[1:]),
    ("improvement", totals[:-1] - totals[1:]),
    ("exp_neg_loss", np.exp(-totals[1:])),
  ):
    _, states = _run(SETTINGS._replace(reward=reward))
    np.testing.assert_allclose(states.rollout.rewards[-1, :rows], expected[-rows:], rtol=1e-3, atol=1e-5)


def test_a_capped_term_is_capped_in_the_reward_too():
  """At a weight of 75 the reward of any window would else be 0."""
  _, observations, _, actions = _by_hand(SETTINGS)
  rows = (len(actions) - 1) % 3 + 1
  expected = -(observations[1:, 0] + np.minimum(75 * observations[1:, 1], 9.0))
  _, states = _run(SETTINGS._replace(reward="neg_loss", kl_weight=75.0, kl_cap=9.0))
  np.testing.assert_allclose(states.rollout.rewards[-1, :rows], expected[-rows:], rtol=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_a_loss_that_is_not_finite_counts_as_the_worst(bad):
  losses = LOSSES.copy()
  losses[5] = bad
  used, states = _run(SETTINGS, losses=losses)
  assert np.isfinite(used).all()
  assert np.isfinite(states.observation).all() and np.isfinite(states.memory[0]).all()
  assert np.asarray(states.observation)[:, 0].max() == 100.0
  rewards = np.asarray(states.rollout.rewards)[8]  # the second window, of steps 3 to 5, has ended
  assert np.isfinite(rewards).all() and rewards[0] < 1e-30


def test_zeros_as_weights_are_the_uniform_policy_and_keys_draw_others():
  zeros = jax.tree.map(jnp.zeros_like, THETA)
  many = jax.vmap(lambda key: _run(SETTINGS, zeros, key=key)[0])
  drawn = np.asarray(many(jax.random.split(jax.random.key(1), 6)))
  assert not np.array_equal(drawn[0], drawn[1])
  values = np.unique(drawn[:, 3:])
  np.testing.assert_allclose(values, [0, 0.25, 0.5, 0.75, 1.0])


def test_nothing_is_compiled_again_and_multipliers_are_found_in_the_chain():
  tx = velocity_sgd(0.1, layerwise_policy(THETA, LABELS, SETTINGS, policy=POLICY), weight_decay=0.01)
  update = jax.jit(tx.update)
  params, state = PARAMS, tx.init(PARAMS)
  seen = []
  for loss, kl in LOSSES[:12]:
    updates, state = update(ONES, state, params, loss=loss, kl=kl)
    params = optax.apply_updates(params, updates)
    seen.append(np.asarray(multipliers_of(state)))
  assert update._cache_size() == 1
  assert len({tuple(x) for x in seen}) > 1


def test_what_is_wrong_is_said_in_one_line():
  def build(theta=THETA, settings=SETTINGS, labels=LABELS, **options):
    return layerwise_policy(theta, labels, settings, **{"policy": POLICY, **options}).init(PARAMS)

  for call, message in (
    (lambda: build(settings=SETTINGS._replace(head="haed")), r"no 'haed' to observe \(nearest: 'head'\)"),
    (lambda: build(settings=SETTINGS._replace(rollout=0)), "^rollout is 0: it must be a whole number"),
    (lambda: build(settings=SETTINGS._replace(kl_weight=-1.0)), "^kl_weight is -1.0: it must be"),
    (lambda: build(settings=SETTINGS._replace(action="argmax")), "unknown action 'argmax'"),
    (lambda: build(settings=SETTINGS._replace(reward="accuracy")), "unknown reward 'accuracy'"),
    (
      lambda: build(labels={"body": "all", "head": "all"}),
      "the policy is for 2 groups and 5 observed numbers",
    ),
    (
      lambda: build(theta={"params": {}}),
      "theta is not one of layerwise_policy: 'params/head_bias' is missing",
    ),
    (
      lambda: build(policy=CategoricalPolicy(2, actions=5)),
      r"theta of layerwise_policy: '.*' has shape .*expected",
    ),
  ):
    with pytest.raises(ValueError, match=message):
      call()
  tx = layerwise_policy(THETA, LABELS, SETTINGS, policy=POLICY)
  with pytest.raises(ValueError, match=r"call update\(gradients, state, params, loss=loss, kl=kl\)"):
    tx.update(ONES, tx.init(PARAMS), PARAMS)


# Training of the controller, where the best multipliers are known: one group's gradients have the wrong sign.

TOY = LayerwiseSettings(epoch=12, steps=12, head="good", smallest=2, shrink=20, rollout=5)
TOY_POLICY = CategoricalPolicy(2, actions=3, hidden=4)
TOY_LABELS = {"bad": "bad", "good": "good"}


def _toy_loss(params):
  return jnp.sum(jnp.square(params["bad"])) + jnp.sum(jnp.square(params["good"]))


def _episode(theta, key, action="sampled"):
  """(the rollout of one run, its mean reward, the last multipliers): 12 steps, 5 decisions."""
  tx = layerwise_policy(theta, TOY_LABELS, TOY._replace(action=action), policy=TOY_POLICY, key=key)
  params = {"bad": jnp.full(2, 0.2), "good": jnp.full(2, 0.8)}

  def step(carry, _):
    params, state = carry
    loss, gradients = jax.value_and_grad(_toy_loss)(params)
    gradients = {**gradients, "bad": -gradients["bad"]}
    updates, state = tx.update(gradients, state, params, loss=loss)
    params = optax.apply_updates(params, jax.tree.map(lambda u: -0.1 * u, updates))
    return (params, state), None

  (_, state), _ = jax.lax.scan(step, (params, tx.init(params)), length=12)
  return state.rollout, jnp.mean(state.rollout.rewards), multipliers_of(state)


def test_the_controller_learns_the_rates_that_are_known_to_be_best():
  theta = TOY_POLICY.init(jax.random.key(1), jnp.zeros(5), jnp.zeros(2), TOY_POLICY.initial_state())
  tx = optax.adam(0.03)
  episodes = jax.vmap(_episode, in_axes=(None, 0))

  def loss(theta, rollouts, baseline):
    def of_one(rollout):
      logits, _ = policies.replay(TOY_POLICY, theta, rollout.observations, rollout.multipliers, rollout.start)
      found = advantages(rollout.rewards, baseline)
      return reinforce_loss(policies.log_prob(logits, rollout.actions), found)

    return jnp.mean(jax.vmap(of_one)(rollouts))

  def step(carry, key):
    theta, opt_state, baseline = carry
    rollouts, rewards, _ = episodes(theta, jax.random.split(key, 16))
    updates, opt_state = tx.update(jax.grad(loss)(theta, rollouts, baseline), opt_state)
    baseline = update_baseline(baseline, rewards)
    return (optax.apply_updates(theta, updates), opt_state, baseline), jnp.mean(rewards)

  @jax.jit
  def train(theta):
    keys = jax.random.split(jax.random.key(2), 150)
    (theta, _, _), rewards = jax.lax.scan(step, (theta, tx.init(theta), init_baseline()), keys)
    return theta, rewards, _episode(theta, keys[0], "likeliest")[1:]

  _, rewards, (best, multipliers) = train(theta)
  assert rewards[-10:].mean() > rewards[:10].mean() + 0.03
  np.testing.assert_array_equal(multipliers, [0.0, 1.0])  # frozen what only does harm, at full rate the rest
  assert best > rewards[:10].mean() + 0.05
