"""The categorical policy: torch's LSTMs (backbones.npz), counts and closed forms of the uniform policy."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nn.seeded import images, seeded

from vita_jax.nn import policy as policies
from vita_jax.nn.policy import CategoricalPolicy

FILE = Path(__file__).parent / "fixtures" / "backbones.npz"
POLICY = CategoricalPolicy(7)
N, G = 5, 7


def _init(policy, seed=0):
  inputs = jnp.zeros(policy.observations), jnp.ones(policy.groups), policy.initial_state()
  return policy.init(jax.random.key(seed), *inputs)


@pytest.fixture(scope="module")
def theta():
  return jax.jit(lambda: _init(POLICY))()


def test_logits_of_a_sequence_are_those_of_torch():
  with np.load(FILE, allow_pickle=False) as file:
    shapes, expected = json.loads(str(file["policy/shapes"])), file["policy/logits"]
  t = seeded(shapes)

  def of_all(what, count):
    return np.stack([t[what.format(i)] for i in range(count)])

  params = {
    "input_kernel": of_all("lstm{}.weight_ih_l0", N).transpose(0, 2, 1),
    "hidden_kernel": of_all("lstm{}.weight_hh_l0", N).transpose(0, 2, 1),
    "input_bias": of_all("lstm{}.bias_ih_l0", N),
    "hidden_bias": of_all("lstm{}.bias_hh_l0", N),
    "head_kernel": of_all("head{}.weight", G).transpose(0, 2, 1),
    "head_bias": of_all("head{}.bias", G),
  }
  steps = len(expected)
  logits, state = policies.replay(
    POLICY, {"params": params}, images(steps, N, seed=1), images(steps, G, seed=2), POLICY.initial_state()
  )
  np.testing.assert_allclose(logits, expected, atol=1e-5)
  assert [x.shape for x in state] == [(N, 20)] * 2


def test_weights_are_as_many_as_published(theta):
  def count(tree):
    return sum(x.size for x in jax.tree.leaves(tree))

  assert count(theta) == 17_054
  with_critic = jax.eval_shape(lambda: _init(CategoricalPolicy(7, critic="linear")))
  assert count(with_critic) == 17_762
  assert with_critic["params"]["head_kernel"].shape == (7, 101, 11)
  with pytest.raises(ValueError, match="critic is 'deep': choose 'none' or 'linear'"):
    _init(CategoricalPolicy(7, critic="deep"))


def test_it_begins_nearly_uniform_with_orthogonal_weights(theta):
  p = theta["params"]
  np.testing.assert_allclose(p["hidden_kernel"][2] @ p["hidden_kernel"][2].T, np.eye(20), atol=1e-5)
  np.testing.assert_allclose(p["head_kernel"][3].T @ p["head_kernel"][3], 1e-4 * np.eye(11), atol=1e-8)
  assert not any(np.any(p[name]) for name in ("input_bias", "hidden_bias", "head_bias"))
  assert not np.allclose(p["hidden_kernel"][0], p["hidden_kernel"][1])
  logits, _ = POLICY.apply(theta, jnp.ones(N), jnp.ones(G), POLICY.initial_state())
  np.testing.assert_allclose(policies.entropy(logits), np.log(11), atol=1e-3)


def test_the_uniform_policy_has_closed_forms(theta):
  zeros = jax.tree.map(jnp.zeros_like, theta)
  logits, _ = POLICY.apply(zeros, jnp.ones(N), jnp.ones(G), POLICY.initial_state())
  actions = policies.sample(jax.random.key(0), logits)
  assert actions.shape == (G,) and actions.dtype == jnp.int32
  assert float(policies.log_prob(logits, actions)) == pytest.approx(-16.7852669, abs=1e-5)
  np.testing.assert_allclose(policies.entropy(logits), 2.3978953, rtol=1e-6)
  drawn = policies.sample(jax.random.key(1), jnp.broadcast_to(logits, (4000, G, 11)))
  shares = np.bincount(np.asarray(drawn).ravel(), minlength=11) / drawn.size
  np.testing.assert_allclose(shares, 1 / 11, atol=0.008)


def test_log_prob_is_the_sum_over_groups_and_memory_is_carried(theta):
  logits = jnp.asarray(images(6, G, 11))
  actions = policies.sample(jax.random.key(0), logits)
  p = jax.nn.softmax(logits)
  by_hand = np.log([np.prod([p[s, g, actions[s, g]] for g in range(G)]) for s in range(6)])
  np.testing.assert_allclose(policies.log_prob(logits, actions), by_hand, rtol=1e-5)
  observations, multipliers = jnp.asarray(images(3, N)), jnp.ones((3, G))
  together, last = policies.replay(POLICY, theta, observations, multipliers, POLICY.initial_state())
  state, alone = POLICY.initial_state(), []
  for observation in observations:
    found, state = POLICY.apply(theta, observation, jnp.ones(G), state)
    alone.append(found)
  np.testing.assert_allclose(together, jnp.stack(alone), atol=1e-6)
  np.testing.assert_allclose(last[0], state[0], atol=1e-6)
  forgetful, _ = POLICY.apply(theta, observations[2], jnp.ones(G), POLICY.initial_state())
  assert np.abs(forgetful - together[2]).max() > 1e-5


def test_other_sizes_and_the_critic():
  policy = CategoricalPolicy(2, actions=3, observations=4, hidden=6, critic="linear")
  theta = _init(policy)
  logits, _ = policy.apply(theta, jnp.ones(4), jnp.ones(2), policy.initial_state())
  assert logits.shape == (2, 3)
  value = policy.apply(theta, jnp.ones(4), jnp.ones(2), policy.initial_state(), method="value")
  assert value.shape == () and np.isfinite(value)
  with pytest.raises(
    ValueError, match=r"the policy observes \[4\] numbers and \[2\] multipliers, not \[5\] and \[2\]"
  ):
    policy.apply(theta, jnp.ones(5), jnp.ones(2), policy.initial_state())
