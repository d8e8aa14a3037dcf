"""A trained controller of learning rates as an optax transformation: `layerwise_policy`.

Between two decisions lies a window of steps. At the first step of each window but the first, a policy
(`vita_jax.nn.policy`) sees the means over the window that has ended and sets a multiplier for each group of
layers. All of it is in the state, with static shapes: nothing is compiled again, and runs may be vmapped.

Source: "Automated Synthetic-to-Real Generalization" (ICML 2020), where it is called RL-L2O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vita_jax.base.choose import choose, hint
from vita_jax.base.keys import at_least
from vita_jax.base.tree import named_leaves
from vita_jax.nn import policy as policies
from vita_jax.nn.policy import Carry, CategoricalPolicy
from vita_jax.optim.groups import Labels, ScaleByGroupState, check_groups, group_names, scaled_by_group
from vita_jax.optim.leaves import COUNT, check_number, check_theta
from vita_jax.optim.windows import window_length, window_lengths

Tree = Any
OBSERVED = ("loss", "kl", "progress", "head_mean", "head_std")
REWARDS = ("exp_neg_loss", "neg_loss", "improvement")
ACTIONS = ("sampled", "likeliest")
WORST = 100.0  # what the mean of a window counts that is larger, or not finite; of a loss in nats


class Rollout(NamedTuple):
  """The last decisions, for REINFORCE: `logits, _ = replay(policy, theta, observations, multipliers, start)`.

  Rows are filled in order; after the last the next decision starts again at the first.

  Attributes:
    observations: float32 [steps, 5], what was seen.
    multipliers: float32 [steps, groups], of the window before the decision.
    actions: int32 [steps, groups].
    rewards: float32 [steps], of the window after the decision.
    start: the state of the policy before the first row.
    decided: int32, rows that hold a decision.
    rewarded: int32, rows whose window has ended: `rewarded == steps` means that the rollout is complete.
  """

  observations: jax.Array
  multipliers: jax.Array
  actions: jax.Array
  rewards: jax.Array
  start: Carry
  decided: jax.Array
  rewarded: jax.Array


class LayerwisePolicyState(NamedTuple):
  """What `layerwise_policy` carries.

  Attributes:
    scale: the multipliers, see `vita_jax.optim.multipliers_of`.
    memory: the policy's (h, c).
    sums: float32 [5], of what is observed, over the steps of this window.
    observation: float32 [5], means over the last window that has ended.
    mean_loss: float32, of that window: loss + kl_weight kl.
    taken: int32, steps of this window.
    left: int32, steps until this window ends; 0: the next step begins with a decision.
    done: int32, steps in this epoch.
    before: int32, steps in earlier epochs.
    decisions: int32, how many were made.
    key: uint32 data of the key that actions are drawn from.
    rollout: the last decisions.
  """

  scale: ScaleByGroupState
  memory: Carry
  sums: jax.Array
  observation: jax.Array
  mean_loss: jax.Array
  taken: jax.Array
  left: jax.Array
  done: jax.Array
  before: jax.Array
  decisions: jax.Array
  key: jax.Array
  rollout: Rollout


class Settings(NamedTuple):
  """How a controller acts.

  Attributes:
    epoch: steps of an epoch, at whose end windows end.
    steps: of the whole run; progress is t / steps.
    head: '/'-joined path of the last layer's weights, whose mean and deviation are observed.
    smallest, shrink: of the windows, see `windows.window_length`.
    rollout: decisions that are kept.
    action: "sampled", as released, or "likeliest".
    reward: of a window: "exp_neg_loss", exp(-l) with l the mean of loss + kl_weight kl; "neg_loss", -l; or
      "improvement", l of the window before less l.
    kl_weight: see `reward`.
    kl_cap: most that kl_weight kl counts there, as `vita_jax.losses.distil.capped_weight` has it; None: any.
    legacy_window: as released, see `windows.window_length`.
    legacy_memoryless: as released, every decision starts from a state of zeros.
  """

  epoch: int
  steps: int
  head: str
  smallest: int = 10
  shrink: int = 20
  rollout: int = 5
  action: str = "sampled"
  reward: str = "exp_neg_loss"
  kl_weight: float = 0.0
  kl_cap: float | None = None
  legacy_window: bool = False
  legacy_memoryless: bool = False


def layerwise_policy(
  theta: Mapping[str, Any],
  labels: Labels,
  settings: Settings,
  *,
  groups: Sequence[str] | None = None,
  policy: CategoricalPolicy | None = None,
  key: jax.Array | None = None,
) -> optax.GradientTransformationExtraArgs:
  """Builds a controller that multiplies the updates of each layer group by what it decided last.

  It stands where `scale_by_group` would: `velocity_sgd(rate, layerwise_policy(...))`. Call
  `tx.update(gradients, state, params, loss=..., kl=...)`, float scalars of this step (kl: 0 where there is no
  proxy). The multipliers of action a are a / (actions - 1); those of the first window are 1. A mean over a
  window that is above 100, or not finite since one loss was not, counts as 100: its reward is about 0.

  Args:
    theta: the policy's variables; may be traced. Zeros make every decision uniformly random.
    labels: as in `scale_by_group`.
    settings: windows, actions and rewards.
    groups: as in `scale_by_group`.
    policy: default: `CategoricalPolicy(number of groups)`.
    key: actions are drawn from it; default: `jax.random.key(0)`. It is read by `init` only.

  Raises:
    ValueError: settings or theta that do not fit, or, in `init`, labels or a head that the parameters lack;
      in `update`, no loss or no params.
  """
  names = group_names(labels, groups)
  policy = CategoricalPolicy(len(names)) if policy is None else policy
  _check(theta, names, policy, settings)

  def init(params: Tree) -> LayerwisePolicyState:
    check_groups(labels, names, params)
    _head(params, settings.head)
    return _first(policy, settings, jax.random.key(0) if key is None else key)

  def update(
    updates: Tree,
    state: LayerwisePolicyState,
    params: Tree = None,
    *,
    loss: Any = None,
    kl: Any = 0.0,
    **extra: Any,
  ) -> tuple[Tree, LayerwisePolicyState]:
    del extra
    if loss is None or params is None:
      raise ValueError("layerwise_policy observes: call update(gradients, state, params, loss=loss, kl=kl)")

    def decided(state: LayerwisePolicyState) -> LayerwisePolicyState:
      return _decide(policy, theta, settings, state)

    state = jax.lax.cond(state.left == 0, decided, _unchanged, state)
    scaled = scaled_by_group(updates, state.scale.multipliers, labels, names)
    return scaled, _observe(settings, state, loss, kl, _head(params, settings.head))

  return optax.GradientTransformationExtraArgs(init, update)


def _unchanged(state: LayerwisePolicyState) -> LayerwisePolicyState:
  return state


def _first(policy: CategoricalPolicy, settings: Settings, key: jax.Array) -> LayerwisePolicyState:
  """The state before the first step; each array has a buffer of its own, so that it may be donated."""
  rows, groups, memory = settings.rollout, policy.groups, policy.initial_state()

  def count(value: int) -> jax.Array:
    return jnp.array(value, jnp.int32)

  rollout = Rollout(
    jnp.zeros((rows, len(OBSERVED))),
    jnp.zeros((rows, groups)),
    jnp.zeros((rows, groups), jnp.int32),
    jnp.zeros(rows),
    jax.tree.map(jnp.zeros_like, memory),
    count(0),
    count(0),
  )
  return LayerwisePolicyState(
    scale=ScaleByGroupState(jnp.ones(groups)),
    memory=jax.tree.map(jnp.zeros_like, memory),
    sums=jnp.zeros(len(OBSERVED)),
    observation=jnp.zeros(len(OBSERVED)),
    mean_loss=jnp.zeros(()),
    taken=count(0),
    left=count(min(settings.smallest, settings.epoch)),
    done=count(0),
    before=count(0),
    decisions=count(0),
    key=jnp.array(jax.random.key_data(key), copy=True),
    rollout=rollout,
  )


def _decide(
  policy: CategoricalPolicy, theta: Mapping[str, Any], settings: Settings, state: LayerwisePolicyState
) -> LayerwisePolicyState:
  """Acts on the window that has ended and opens the next one."""
  memory = policy.initial_state() if settings.legacy_memoryless else state.memory
  multipliers = state.scale.multipliers
  found: Any = policy.apply(theta, state.observation, multipliers, memory)
  logits, after = found
  key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.decisions)
  drawn = policies.sample(key, logits) if settings.action == "sampled" else jnp.argmax(logits, -1)
  actions = drawn.astype(jnp.int32)
  old = state.rollout
  row = jnp.where(old.decided == settings.rollout, 0, old.decided)
  rollout = Rollout(
    old.observations.at[row].set(state.observation),
    old.multipliers.at[row].set(multipliers),
    old.actions.at[row].set(actions),
    old.rewards,
    jax.tree.map(lambda new, kept: jnp.where(row == 0, new, kept), memory, old.start),
    row + 1,
    jnp.where(row == 0, 0, old.rewarded),
  )
  return state._replace(
    scale=ScaleByGroupState(actions.astype(jnp.float32) / (policy.actions - 1)),
    memory=after,
    left=window_length(
      state.done,
      state.before,
      settings.epoch,
      smallest=settings.smallest,
      shrink=settings.shrink,
      legacy=settings.legacy_window,
    ).astype(jnp.int32),
    decisions=state.decisions + 1,
    rollout=rollout,
  )


def _observe(
  settings: Settings, state: LayerwisePolicyState, loss: Any, kl: Any, head: jax.Array
) -> LayerwisePolicyState:
  """Counts a step; at the end of a window, gives the means and the reward of the decision that opened it."""
  head = head.astype(jnp.float32)
  progress = (state.done + state.before).astype(jnp.float32) / settings.steps
  seen = (loss, kl, progress, jnp.mean(head), jnp.std(head))
  now = jax.lax.stop_gradient(jnp.stack([jnp.asarray(x, jnp.float32) for x in seen]))
  sums, taken, left = state.sums + now, state.taken + 1, state.left - 1
  ended = left == 0
  observation = jnp.where(ended, _bounded(sums / taken), state.observation)
  term = settings.kl_weight * observation[1]
  total = observation[0] + (term if settings.kl_cap is None else jnp.minimum(term, settings.kl_cap))
  reward = {
    "exp_neg_loss": jnp.exp(-total),
    "neg_loss": -total,
    "improvement": state.mean_loss - total,
  }[settings.reward]
  old = state.rollout
  waits = ended & (old.rewarded < old.decided)
  rewards = jnp.where(waits, old.rewards.at[old.rewarded].set(reward), old.rewards)
  done = state.done + 1
  over = done == settings.epoch
  return state._replace(
    sums=jnp.where(ended, 0.0, sums),
    observation=observation,
    mean_loss=jnp.where(ended, total, state.mean_loss),
    taken=jnp.where(ended, 0, taken),
    left=left,
    done=jnp.where(over, 0, done),
    before=jnp.where(over, state.before + done, state.before),
    rollout=old._replace(rewards=rewards, rewarded=old.rewarded + waits.astype(jnp.int32)),
  )


def _bounded(means: jax.Array) -> jax.Array:
  return jnp.where(jnp.isfinite(means), jnp.clip(means, -WORST, WORST), WORST)


def _head(params: Tree, path: str) -> jax.Array:
  leaves = named_leaves(params)
  if path not in leaves:
    raise ValueError(f"the parameters have no '{path}' to observe{hint(path, leaves)}: give another head")
  return jnp.asarray(leaves[path])


def _check(
  theta: Mapping[str, Any], names: Sequence[str], policy: CategoricalPolicy, settings: Settings
) -> None:
  for name in ("epoch", "steps", "smallest", "shrink", "rollout"):
    check_number(name, getattr(settings, name), COUNT)
  check_number("kl_weight", settings.kl_weight, at_least(0))
  choose("action", settings.action, ACTIONS)
  choose("reward", settings.reward, REWARDS)
  if policy.groups != len(names) or policy.observations != len(OBSERVED):
    raise ValueError(
      f"the policy is for {policy.groups} groups and {policy.observations} observed numbers, and there are"
      f" {len(names)} and {len(OBSERVED)}: {', '.join(names)}"
    )
  shapes = jax.eval_shape(lambda key: policies.init_theta(policy, key), jax.random.key(0))
  check_theta(theta, shapes, kind="layerwise_policy")


def count_decisions(settings: Settings) -> int:
  """Counts the decisions of a run: the windows that end before its last step.

  Examples:
    >>> count_decisions(Settings(100, 35, "head", legacy_window=True))  # windows of 10, 10, 15
    2
  """
  epoch, steps = min(settings.epoch, settings.steps), settings.steps
  lengths = window_lengths(
    epoch,
    -(-steps // epoch),
    smallest=settings.smallest,
    shrink=settings.shrink,
    legacy=settings.legacy_window,
  )
  return int(np.searchsorted(np.cumsum(lengths), steps))


def controller_state(state: Tree) -> LayerwisePolicyState:
  """Returns the state of the one `layerwise_policy` that an optimizer's state has in it."""
  (found,) = (x for x in jax.tree.leaves(state, is_leaf=_is_controller) if _is_controller(x))
  return found


def _is_controller(x: Any) -> bool:
  return isinstance(x, LayerwisePolicyState)
