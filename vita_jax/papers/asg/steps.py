"""The training step that all methods share, the teacher's, and that of self-training."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vita_jax import metrics
from vita_jax.data.augment_on_device import augmented
from vita_jax.losses.anchor import PathImportance, add_step, importance_of_path
from vita_jax.losses.self_training import pseudo_loss
from vita_jax.nn.policy import uniform_theta
from vita_jax.nn.pretrained import old_of, resized
from vita_jax.optim.groups import multipliers_of, set_multipliers
from vita_jax.optim.layerwise import Settings, controller_state
from vita_jax.papers.asg import rates
from vita_jax.papers.asg.losses import Terms, anchor_loss, kl_of, task_loss, total_loss
from vita_jax.papers.asg.model import Nets, see, start_of, teach
from vita_jax.papers.asg.recipe import WINDOWED, Recipe
from vita_jax.train.experiment import Metrics, State

Tree = Any
Batch = Mapping[str, Any]
LOOKED_AT = 50  # pictures at once where a step looks at held-out ones


class Taken(NamedTuple):
  """What one step has made: new weights and optimizer state, importances, and the terms."""

  params: Tree
  tx: Tree
  importance: PathImportance | None
  terms: Terms


def compares(recipe: Recipe) -> bool:
  """Tells whether a step computes the teacher's old logits; else its `kl` says nothing."""
  return recipe.proxy.weight > 0 or recipe.anchor.kind in ("synaptic", "feature_l2")


def take_step(
  recipe: Recipe,
  nets: Nets,
  optimizer: optax.GradientTransformationExtraArgs,
  params: Tree,
  tx: Tree,
  teacher: Tree,
  batch: Batch,
  *,
  importance: PathImportance | None = None,
) -> Taken:
  """Takes one step of fine-tuning, of any method: what a method is stands in the recipe and the optimizer.

  Args:
    recipe: the settings.
    nets: the networks.
    optimizer: its updates get the terms `loss` (the task's) and `kl`.
    params: {"trunk", "head"}.
    tx: the optimizer's state.
    teacher: {"trunk", "old", "stats"}.
    batch: `image`, `label`, and `old_logits` where the teacher's are cached.
    importance: of the weights, in synaptic intelligence.
  """
  anchor, proxy = recipe.anchor, recipe.proxy
  ignore = recipe.data.ignore if recipe.pixels else None
  old, features = None, None
  if "old_logits" in batch:
    old = batch["old_logits"].astype(jnp.float32)
  if compares(recipe) and (old is None or anchor.kind == "feature_l2"):
    old, features = teach(nets, teacher, batch["image"])
  start = start_of(nets, teacher) if anchor.kind in ("l2_sp", "synaptic") else None
  weights = None if importance is None else importance_of_path(importance, params["trunk"])

  def loss(params: Tree) -> tuple[jax.Array, Terms]:
    seen = see(nets, params, teacher, batch["image"])
    kl = jnp.zeros(()) if old is None else kl_of(seen, old)
    held = anchor_loss(anchor, params["trunk"], start, seen, features, weights)  # type: ignore[arg-type]
    terms = Terms(task_loss(seen.logits, batch["label"], ignore=ignore), kl, held)
    return total_loss(proxy, anchor, terms), terms

  grads, terms = jax.grad(loss, has_aux=True)(params)
  updates, tx = optimizer.update(grads, tx, params, loss=terms.task, kl=terms.kl)
  if importance is not None:
    importance = _risen(nets, importance, params, teacher, batch, old, updates)
  return Taken(optax.apply_updates(params, updates), tx, importance, terms)


def _risen(
  nets: Nets, importance: PathImportance, params: Tree, teacher: Tree, batch: Batch, old: Any, updates: Tree
) -> PathImportance:
  """Adds how much each weight's move has raised the old task's loss, L_KL, to first order.

  The importances of synaptic intelligence are of the old task, whose data are not at hand; its loss on the
  synthetic pictures stands in. The sign is turned: fine-tuning moves away from the old optimum.
  """

  def kl(trunk: Tree) -> jax.Array:
    return kl_of(see(nets, {**params, "trunk": trunk}, teacher, batch["image"]), old)

  risen = jax.grad(kl)(params["trunk"])
  return add_step(importance, jax.tree.map(jnp.negative, risen), updates["trunk"])


def optimizer_of(
  recipe: Recipe, nets: Nets, settings: Settings, controller: Tree, key: jax.Array | None = None
) -> optax.GradientTransformationExtraArgs:
  """Makes the optimizer of fine-tuning: multipliers fixed or set, random or decided by a trained policy."""
  if recipe.rates.kind not in WINDOWED:
    return rates.grouped_optimizer(recipe, nets, recipe.tune.steps)
  theta = controller["best_theta"] if recipe.rates.kind == "learned" else uniform_theta(nets.policy)
  return rates.windowed_optimizer(recipe, nets, settings, theta, key)


def finetune_step(
  recipe: Recipe, nets: Nets, settings: Settings, state: State, batch: Batch, t: jax.Array
) -> tuple[State, Metrics]:
  """Takes one step of fine-tuning, and every so many steps a look at held-out pictures.

  Args:
    recipe: the settings.
    nets: the networks.
    settings: how a controller acts.
    state: `params`, `teacher`, `tx`, `kept`, `best`, `last`, `equal`, `key`; `controller`, `trace`,
      `importance` where the method has them.
    batch: as in `take_step`, and `held_out` and `quick`, whole, for looks.
    t: the step.
  """
  optimizer = optimizer_of(recipe, nets, settings, state.get("controller"))
  tx, multipliers = state["tx"], rates.multipliers_at(recipe, nets, t)
  tx = tx if multipliers is None else set_multipliers(tx, multipliers)
  pictures = pictures_of(recipe, state, batch, t)
  importance = PathImportance(**state["importance"]) if "importance" in state else None
  taken = take_step(
    recipe, nets, optimizer, state["params"], tx, state["teacher"], pictures, importance=importance
  )
  new = {**state, "params": taken.params, "tx": taken.tx}
  if taken.importance is not None:
    new["importance"] = taken.importance._asdict()
  if "trace" in state:
    new["trace"] = traced(state["trace"], tx, taken.tx, t)
  new = looked(recipe, nets, new, batch, t)
  terms = taken.terms
  values = {"task": terms.task, "kl": terms.kl, "anchor": terms.anchor}
  used = multipliers_of(taken.tx)
  values |= {f"multiplier_{name}": used[i] for i, name in enumerate(nets.names)}
  found = {name: metrics.once(value) for name, value in values.items()}
  return new, found if compares(recipe) else {**found, "kl": (jnp.zeros(()), jnp.zeros(()))}  # not measured


def pictures_of(recipe: Recipe, state: State, batch: Batch, t: jax.Array) -> dict[str, Any]:
  """Returns what a step trains on, augmented where the recipe says so, for every method alike."""
  found = {name: batch[name] for name in ("image", "label", "old_logits") if name in batch}
  if recipe.data.augment != "none":
    key = jax.random.fold_in(state["key"], t)
    found["image"] = augmented(key, found["image"], recipe.data.augment)
  return found


def traced(trace: Mapping[str, jax.Array], before: Tree, after: Tree, t: jax.Array) -> dict[str, jax.Array]:
  """Writes down a decision, if this step made one, and the reward of a window, if it ended one.

  `step` int32 [decisions], `multipliers` [decisions, groups], `observation` [decisions, 5] (means over the
  window before); `rewards` and `windows`, the sum of exp(-loss) over windows and their number.
  """
  old, new = controller_state(before), controller_state(after)
  row, decided = old.decisions, new.decisions > old.decisions

  def put(place: jax.Array, value: jax.Array) -> jax.Array:
    return jnp.where(decided, place.at[row].set(value, mode="drop"), place)

  ended = (new.left == 0).astype(jnp.float32)
  return {
    "step": put(trace["step"], t),
    "multipliers": put(trace["multipliers"], new.scale.multipliers),
    "observation": put(trace["observation"], old.observation),
    "rewards": trace["rewards"] + ended * jnp.exp(-new.mean_loss),
    "windows": trace["windows"] + ended,
  }


def looked(recipe: Recipe, nets: Nets, state: State, batch: Batch, t: jax.Array) -> State:
  """Looks at held-out synthetic and quick real pictures, at every `look_every` steps and at the last.

  The weights that are best on either are kept, and the real accuracy is noted where the synthetic one first
  reaches `equal_at`, on a line between two looks. What is seen changes no training.
  """
  due = ((t + 1) % recipe.tune.look_every == 0) | (t + 1 == recipe.tune.steps)

  def look(state: State) -> State:
    places = (batch["held_out"], batch["quick"])
    found = shares_right(recipe, nets, state["params"], state["teacher"], places)
    shares = dict(zip(("synthetic", "target"), found, strict=True))
    kept, best = dict(state["kept"]), dict(state["best"])
    for side, share in shares.items():
      better = share > best[side]
      kept[side] = jax.tree.map(partial(jnp.where, better), state["params"], kept[side])
      best[side] = jnp.maximum(share, best[side])
    reached = (shares["synthetic"] >= recipe.tune.equal_at) & (state["equal"] < 0)
    lines = (jnp.stack([state["last"][side], shares[side]]) for side in ("synthetic", "target"))
    equal = jnp.where(reached, jnp.interp(recipe.tune.equal_at, *lines), state["equal"])
    return {**state, "kept": kept, "best": best, "last": shares, "equal": equal}

  return jax.lax.cond(due, look, lambda state: state, state)


def shares_right(
  recipe: Recipe, nets: Nets, params: Tree, teacher: Tree, places: tuple[Batch, ...]
) -> list[jax.Array]:
  """Computes the share right of the pictures, or of the pixels that are not ignored, of each of some places.

  All go through one loop, since a second one would compile the network again.
  """
  moved = nets.moved("loop")  # a lax.map within a lax.cond
  images = jnp.concatenate([resized(nets.teacher, place["image"]) for place in places])
  labels = jnp.concatenate([place["label"] for place in places])
  n, size = len(labels), min(LOOKED_AT, len(labels))

  def one(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    label = labels[rows].astype(jnp.int32)
    predicted = jnp.argmax(see(moved, params, teacher, images[rows]).logits, axis=-1)
    counted = label != recipe.data.ignore if recipe.pixels else jnp.ones_like(label, bool)
    right = (predicted == label) & counted
    return right.reshape(size, -1).sum(1), counted.reshape(size, -1).sum(1)

  rows = jnp.minimum(jnp.arange(-(-n // size) * size), n - 1).reshape(-1, size)
  right, total = (x.ravel()[:n] for x in jax.lax.map(one, rows))
  ends = np.cumsum([len(place["label"]) for place in places])[:-1].tolist()
  parts = zip(jnp.split(right, ends), jnp.split(total, ends), strict=True)
  return [jnp.sum(some) / jnp.maximum(jnp.sum(all_), 1) for some, all_ in parts]


def pretrain_step(
  recipe: Recipe,
  nets: Nets,
  optimizer: optax.GradientTransformation,
  state: State,
  batch: Batch,
  t: jax.Array,
) -> tuple[State, Metrics]:
  """Trains the teacher on the old task: real pictures with the old task's labels."""
  del t
  teacher = state["teacher"]
  trained = {"trunk": teacher["trunk"], "old": teacher["old"]}

  def loss(trained: Tree) -> tuple[jax.Array, jax.Array]:
    logits, _ = old_of(nets.teacher, {**teacher, **trained}, batch["image"])
    return task_loss(logits, batch["label"]), logits

  (value, logits), grads = jax.value_and_grad(loss, has_aux=True)(trained)
  updates, tx = optimizer.update(grads, state["tx"], trained)
  found = {"old_task": metrics.once(value), "old_accuracy": metrics.accuracy(logits, batch["label"])}
  return {**state, "teacher": {**teacher, **optax.apply_updates(trained, updates)}, "tx": tx}, found


def cbst_step(recipe: Recipe, nets: Nets, state: State, batch: Batch, t: jax.Array) -> tuple[State, Metrics]:
  """Takes one step of self-training: the synthetic task, and accepted pseudo-labels of real pictures.

  Args:
    recipe: the settings.
    nets: the networks.
    state: `pseudo` int8 [real pictures] or [.., h, w], the labels of this round, -1: not accepted.
    batch: synthetic `image`, `label`; `target`: real `image` and their `index`.
    t: the step within the round.
  """
  del t
  constant = recipe._replace(tune=recipe.tune._replace(schedule="constant"))  # for every start alike
  optimizer = rates.grouped_optimizer(constant, nets, recipe.cbst.steps)
  teacher, target = state["teacher"], batch["target"]
  pseudo = state["pseudo"][target["index"]]

  def loss(params: Tree) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    seen = see(nets, params, teacher, batch["image"])
    real = see(nets, params, teacher, target["image"])
    task = task_loss(seen.logits, batch["label"], ignore=recipe.data.ignore if recipe.pixels else None)
    pseudo_task = pseudo_loss(real.logits, pseudo, smooth=recipe.cbst.smooth)
    return task + pseudo_task, (task, pseudo_task)

  grads, (task, pseudo_task) = jax.grad(loss, has_aux=True)(state["params"])
  updates, tx = optimizer.update(grads, state["tx"], state["params"], loss=task)
  new = {**state, "params": optax.apply_updates(state["params"], updates), "tx": tx}
  values = {"task": task, "pseudo": pseudo_task, "accepted": jnp.mean(pseudo >= 0)}
  return new, {name: metrics.once(value) for name, value in values.items()}
