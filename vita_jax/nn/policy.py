"""A categorical policy with memory: an LSTM for each number that is observed, a softmax for each group.

A controller that sets one of a few values for each of several groups, decision after decision: rates of layer
groups (Automated Synthetic-to-Real Generalization, ICML 2020, sections 2.5 and 2.6 of its method), or one
choice for each edge of an architecture. It is trained by `vita_jax.losses.reinforce`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Carry = tuple[jax.Array, jax.Array]  # hidden and cell state, [observations, hidden] each
GAIN = 0.01  # of the heads at first: nearly uniform


class CategoricalPolicy(nn.Module):
  """(observation [n], multipliers [groups], state) -> (logits [groups, actions], new state).

  Each observed number has an LSTM of its own, 1 -> `hidden`, in torch's convention (gates in the order i, f,
  g, o; two biases). The n hidden outputs in a row, followed by the group's own multiplier, go through the
  group's own linear layer to its logits.

  Parameters, float32: `input_kernel` [n, 1, 4 hidden], `hidden_kernel` [n, hidden, 4 hidden], `input_bias`
  and `hidden_bias` [n, 4 hidden], `head_kernel` [groups, n hidden + 1, actions], `head_bias` [groups,
  actions]. With 7 groups they are 17,054 numbers; a critic, 708 more, is read by `value` only.

  Attributes:
    groups: how many choices one decision is made of.
    actions: between how many values each.
    observations: n, how many numbers are observed.
    hidden: width of each LSTM.
    critic: "none", or "linear": of the heads' inputs of all groups in a row.

  Examples:
    >>> policy = CategoricalPolicy(groups=7)
    >>> observation, multipliers = jnp.zeros(5), jnp.ones(7)
    >>> theta = policy.init(jax.random.key(0), observation, multipliers, policy.initial_state())
    >>> logits, state = policy.apply(theta, observation, multipliers, policy.initial_state())
    >>> logits.shape, sum(x.size for x in jax.tree.leaves(theta))
    ((7, 11), 17054)
  """

  groups: int
  actions: int = 11
  observations: int = 5
  hidden: int = 20
  critic: str = "none"

  def setup(self) -> None:
    n, width, inputs = self.observations, 4 * self.hidden, self.observations * self.hidden + 1
    of_each = nn.initializers.orthogonal()
    zeros = nn.initializers.zeros
    self.input_kernel = self.param("input_kernel", _stacked(of_each), (n, 1, width))
    self.hidden_kernel = self.param("hidden_kernel", _stacked(of_each), (n, self.hidden, width))
    self.input_bias = self.param("input_bias", zeros, (n, width))
    self.hidden_bias = self.param("hidden_bias", zeros, (n, width))
    draw = _stacked(nn.initializers.orthogonal(GAIN))
    self.head_kernel = self.param("head_kernel", draw, (self.groups, inputs, self.actions))
    self.head_bias = self.param("head_bias", zeros, (self.groups, self.actions))
    if self.critic == "linear":
      self.critic_kernel = self.param("critic_kernel", of_each, (self.groups * inputs, 1))
      self.critic_bias = self.param("critic_bias", zeros, (1,))
    elif self.critic != "none":
      raise ValueError(f"critic is '{self.critic}': choose 'none' or 'linear'")

  def __call__(self, observation: jax.Array, multipliers: jax.Array, state: Carry) -> tuple[jax.Array, Carry]:
    inputs, state = self._inputs(observation, multipliers, state)
    return jnp.einsum("gi,gia->ga", inputs, self.head_kernel) + self.head_bias, state

  def value(self, observation: jax.Array, multipliers: jax.Array, state: Carry) -> jax.Array:
    """Computes what the critic expects, a scalar: `policy.apply(theta, ..., method="value")`."""
    inputs, _ = self._inputs(observation, multipliers, state)
    return (inputs.reshape(-1) @ self.critic_kernel + self.critic_bias)[0]

  def initial_state(self) -> Carry:
    """Returns the state to start from: zeros, (h, c) of [observations, hidden] each."""
    zeros = jnp.zeros((self.observations, self.hidden))
    return zeros, zeros

  def _inputs(self, observation: jax.Array, multipliers: jax.Array, state: Carry) -> tuple[jax.Array, Carry]:
    if observation.shape != (self.observations,) or multipliers.shape != (self.groups,):
      raise ValueError(
        f"the policy observes [{self.observations}] numbers and [{self.groups}] multipliers, not"
        f" {list(observation.shape)} and {list(multipliers.shape)}"
      )
    hidden, cell = state
    gates = observation[:, None] * self.input_kernel[:, 0] + self.input_bias
    gates += jnp.einsum("nh,nhw->nw", hidden, self.hidden_kernel) + self.hidden_bias
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
    hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
    shared = jnp.broadcast_to(hidden.reshape(-1), (self.groups, hidden.size))
    return jnp.concatenate([shared, multipliers[:, None]], axis=1), (hidden, cell)


def init_theta(policy: CategoricalPolicy, key: jax.Array) -> Any:
  """Draws the variables of a policy: nearly uniform decisions."""
  zeros = jnp.zeros(policy.observations), jnp.zeros(policy.groups), policy.initial_state()
  return policy.init(key, *zeros)


def uniform_theta(policy: CategoricalPolicy) -> Any:
  """Returns variables of zeros: every decision is uniformly random."""
  shapes = jax.eval_shape(lambda key: init_theta(policy, key), jax.random.key(0))
  return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


def sample(key: jax.Array, logits: jax.Array) -> jax.Array:
  """Draws one action for each group: logits [..., groups, actions] -> int32 [..., groups]."""
  return jax.random.categorical(key, logits).astype(jnp.int32)


def log_prob(logits: jax.Array, actions: jax.Array) -> jax.Array:
  """Computes ln π of actions, summed over groups: [..., groups, actions], int [..., groups] -> [...]."""
  log_p = jax.nn.log_softmax(logits)
  return jnp.sum(jnp.take_along_axis(log_p, actions[..., None], axis=-1)[..., 0], axis=-1)


def entropy(logits: jax.Array) -> jax.Array:
  """Computes the entropy of each group in nats: [..., groups, actions] -> [..., groups].

  Examples:
    >>> float(entropy(jnp.zeros((1, 11)))[0])  # ln 11
    2.397895336151123
  """
  log_p = jax.nn.log_softmax(logits)
  return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)


def replay(
  policy: CategoricalPolicy,
  theta: Mapping[str, Any],
  observations: jax.Array,
  multipliers: jax.Array,
  state: Carry,
) -> tuple[jax.Array, Carry]:
  """Computes the logits of a sequence of decisions again, memory carried: what REINFORCE differentiates.

  Args:
    policy: the network.
    theta: its variables, as `policy.init` gives them.
    observations: [steps, n].
    multipliers: [steps, groups].
    state: before the first decision.

  Returns:
    Logits [steps, groups, actions], and the state after the last decision.
  """

  def step(state: Carry, inputs: tuple[jax.Array, jax.Array]) -> tuple[Carry, jax.Array]:
    found: Any = policy.apply(theta, *inputs, state)
    return found[1], found[0]

  state, logits = jax.lax.scan(step, state, (observations, multipliers))
  return logits, state


def _stacked(draw: Any) -> Any:
  """Returns an initializer of [n, ...] that draws each of the n by itself."""

  def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    return jnp.stack([draw(k, shape[1:], dtype) for k in jax.random.split(key, shape[0])])

  return init
