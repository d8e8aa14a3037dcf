"""Training the controller: episodes of fine-tuning on the synthetic side, and REINFORCE on their decisions.

One step of the stage is one step of an episode. Episodes that run side by side share their batches and the
shapes of their windows, so all of them have a full rollout at the same step; then theta is updated once. No
real picture, and no validation accuracy, enters a reward. What a reward is compared with is the average of
earlier episodes at the same decision: rewards rise along an episode, whatever the decisions are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from vita_jax import metrics
from vita_jax.losses.reinforce import Baseline, discounted_returns, reinforce_loss, update_baseline
from vita_jax.nn import policy as policies
from vita_jax.nn.policy import replay
from vita_jax.optim.layerwise import Rollout, Settings, controller_state, count_decisions
from vita_jax.papers.asg.model import Nets, student_of
from vita_jax.papers.asg.rates import windowed_optimizer
from vita_jax.papers.asg.recipe import Controller, Recipe
from vita_jax.papers.asg.steps import Batch, Taken, pictures_of, take_step
from vita_jax.train.experiment import Metrics, State

Tree = Any
AVERAGED = 3  # episodes: the controller that is kept has the best mean reward over so many


def start_controller(recipe: Recipe, nets: Nets, settings: Settings, teacher: Tree, key: jax.Array) -> Tree:
  """Makes the state of meta-training: a controller, its optimizer, and episodes that have not begun."""
  theta = policies.init_theta(nets.policy, jax.random.fold_in(key, 0))
  rollouts = max(1, count_decisions(settings) // settings.rollout)  # of an episode
  zero = jnp.zeros(())
  return {
    "theta": theta,
    "best_theta": jax.tree.map(jnp.copy, theta),
    "best": jnp.asarray(-jnp.inf),
    "meta": meta_optimizer(recipe.controller).init(theta),
    "baseline": {part: jnp.zeros((rollouts, settings.rollout)) for part in Baseline._fields},
    "episode": fresh_episodes(recipe, nets, settings, theta, teacher, key, jnp.zeros((), jnp.int32)),
    "sum": zero,  # of rewards in this episode
    "count": zero,
    "last": jnp.full(AVERAGED, -jnp.inf),  # mean rewards of the last episodes
    "updates": jnp.zeros((), jnp.int32),
  }


def fresh_episodes(
  recipe: Recipe,
  nets: Nets,
  settings: Settings,
  theta: Tree,
  teacher: Tree,
  key: jax.Array,
  number: jax.Array,
) -> dict[str, Tree]:
  """Makes students that have not trained, each with a new head: {"params", "tx"}, leading axis [at_once]."""

  def one(i: jax.Array) -> dict[str, Tree]:
    own = jax.random.fold_in(jax.random.fold_in(key, number + 1), i)
    params = student_of(nets, teacher, own)
    optimizer = windowed_optimizer(recipe, nets, settings, theta, jax.random.fold_in(own, 1))
    return {"params": params, "tx": optimizer.init(params)}

  return jax.vmap(one)(jnp.arange(recipe.controller.at_once))


def controller_step(
  recipe: Recipe, nets: Nets, settings: Settings, state: State, batch: Batch, t: jax.Array
) -> tuple[State, Metrics]:
  """Takes one step of every episode; at the end of a rollout updates the controller.

  Args:
    recipe: the settings.
    nets: the networks.
    settings: how the controller acts in an episode.
    state: `controller`, see `start_controller`, `teacher` and `key`.
    batch: as in `take_step`.
    t: the step; an episode has `controller.steps` of them.
  """
  meta, teacher, keys = state["controller"], state["teacher"], recipe.controller

  def fresh(meta: Tree) -> Tree:
    number = t // keys.steps
    episode = fresh_episodes(recipe, nets, settings, meta["theta"], teacher, state["key"], number)
    return {**meta, "episode": episode, "sum": jnp.zeros(()), "count": jnp.zeros(())}

  meta = jax.lax.cond(t % keys.steps == 0, fresh, lambda meta: meta, meta)
  optimizer = windowed_optimizer(recipe, nets, settings, meta["theta"])
  pictures = pictures_of(recipe, state, batch, t)

  def one(episode: Tree) -> Taken:
    return take_step(recipe, nets, optimizer, episode["params"], episode["tx"], teacher, pictures)

  taken = side_by_side(one, meta["episode"], nets)
  after = controller_state(taken.tx)
  meta = {**meta, "episode": {"params": taken.params, "tx": taken.tx}}
  ended = (after.left[0] == 0) & (after.decisions[0] > 0)  # windows end together; the first has no decision
  row = jnp.maximum(after.rollout.rewarded[0] - 1, 0)
  reward = jnp.mean(jax.lax.dynamic_index_in_dim(after.rollout.rewards, row, axis=1, keepdims=False))
  meta["sum"] += jnp.where(ended, reward, 0.0)
  meta["count"] += ended
  full = ended & (after.rollout.rewarded[0] == keys.rollout)

  def improve(meta: Tree) -> Tree:
    return improved(keys, nets, meta, after.rollout, after.decisions[0] // keys.rollout - 1)

  meta = jax.lax.cond(full, improve, lambda meta: meta, meta)
  judged = partial(_judged, min(AVERAGED, keys.episodes))
  meta = jax.lax.cond((t + 1) % keys.steps == 0, judged, lambda meta: meta, meta)
  values = {"task": metrics.mean(taken.terms.task), "kl": metrics.mean(taken.terms.kl)}
  values["reward"] = (jnp.where(ended, reward, 0.0), ended.astype(jnp.float32))
  return {**state, "controller": meta}, values


def side_by_side(one: Callable[[Tree], Any], trees: Tree, nets: Nets) -> Any:
  """Applies `one` to every entry of the leading axis: a batch where networks are small, else in turn."""
  if jax.tree.leaves(trees)[0].shape[0] == 1:  # no loop: convolutions are slow in one
    found = one(jax.tree.map(lambda x: x[0], trees))
    return jax.tree.map(lambda x: x[None], found)
  return jax.vmap(one)(trees) if nets.teacher.kind == "cnn" else jax.lax.map(one, trees)


def meta_optimizer(keys: Controller) -> optax.GradientTransformation:
  """Makes the controller's optimizer: momentum SGD, gradients clipped to a norm."""
  clip = optax.clip_by_global_norm(keys.clip) if keys.clip else optax.identity()
  return optax.chain(clip, optax.sgd(keys.rate, momentum=0.9))


def advantages(keys: Controller, baseline: Baseline, returns: jax.Array) -> jax.Array:
  """Computes R - b, [at_once, decisions], b the baseline of each decision, or before there is one their mean.

  `scaled` divides by the root mean square. The rollout's own mean, which the later rewards of an action
  enter, is not subtracted: with gamma 0 it would count them against the action.
  """
  if keys.baseline:
    returns = returns - jnp.where(baseline.share > 0, baseline.value, jnp.mean(returns, axis=0))
  return returns / (jnp.sqrt(jnp.mean(jnp.square(returns))) + 1e-5) if keys.scaled else returns


def improved(keys: Controller, nets: Nets, meta: Tree, rollout: Rollout, number: jax.Array) -> Tree:
  """Takes one REINFORCE step on rollout `number` of all episodes, leading axis [at_once]."""
  baseline = Baseline(**{part: x[number] for part, x in meta["baseline"].items()})
  returns = jax.vmap(lambda r: discounted_returns(r, keys.gamma))(rollout.rewards)
  given = advantages(keys, baseline, returns)
  new = jax.vmap(update_baseline)(baseline, returns.T)._asdict()

  def loss(theta: Tree) -> jax.Array:
    def one(rollout: Rollout, given: jax.Array) -> jax.Array:
      logits, _ = replay(nets.policy, theta, rollout.observations, rollout.multipliers, rollout.start)
      return reinforce_loss(
        policies.log_prob(logits, rollout.actions),
        given,
        entropy=policies.entropy(logits),
        entropy_weight=keys.entropy,
      )

    return jnp.mean(jax.vmap(one)(rollout, given))

  updates, tx = meta_optimizer(keys).update(jax.grad(loss)(meta["theta"]), meta["meta"], meta["theta"])
  return {
    **meta,
    "theta": optax.apply_updates(meta["theta"], updates),
    "meta": tx,
    "baseline": {part: x.at[number].set(new[part]) for part, x in meta["baseline"].items()},
    "updates": meta["updates"] + 1,
  }


def _judged(wanted: int, meta: Tree) -> Tree:
  """Ends an episode: keeps the controller if the mean reward of the last `wanted` is the best so far."""
  mean = meta["sum"] / jnp.maximum(meta["count"], 1)
  last = jnp.concatenate([meta["last"][1:], mean[None]])
  value = jnp.mean(last[-wanted:])  # -inf until there are so many: means of fewer are noisier
  better = value > meta["best"]
  best = jax.tree.map(lambda new, old: jnp.where(better, new, old), meta["theta"], meta["best_theta"])
  return {**meta, "last": last, "best": jnp.maximum(value, meta["best"]), "best_theta": best}


def card_of(recipe: Recipe, nets: Nets, source: str, controller: Tree) -> dict[str, Any]:
  """Returns plain facts of a controller: its groups, what it was trained on, and how well."""
  card = {
    "groups": dict(zip(nets.groups.names, nets.groups.patterns, strict=True)),
    "trained on": {"data": source, "network": recipe.net.kind, **recipe.controller._asdict()},
    "kl_weight": recipe.proxy.weight,
  }
  if "best" in controller:
    card |= {"best mean reward": float(controller["best"]), "updates": int(controller["updates"])}
  return card
