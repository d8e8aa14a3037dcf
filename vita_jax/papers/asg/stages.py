"""Training as stages: "pretrain" (a teacher that no file has), "controller", "finetune", "cbst_1", ..."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vita_jax.data.resident import Resident, n_batches
from vita_jax.losses.anchor import init_importance
from vita_jax.losses.self_training import accepted_labels, class_thresholds
from vita_jax.optim.groups import set_multipliers, torch_sgd
from vita_jax.optim.layerwise import Settings, count_decisions
from vita_jax.optim.layerwise_files import load_controller
from vita_jax.optim.schedules import warmup_poly
from vita_jax.papers.asg.controller import controller_step, start_controller
from vita_jax.papers.asg.data import EVALUATED, Inputs
from vita_jax.papers.asg.model import Nets, first_weights, see, student_of, teach
from vita_jax.papers.asg.rates import fixed_multipliers, grouped_optimizer, multipliers_at, settings_of
from vita_jax.papers.asg.recipe import WINDOWED, Recipe
from vita_jax.papers.asg.steps import cbst_step, finetune_step, optimizer_of, pretrain_step
from vita_jax.train.experiment import Stage, State, Sweep

Tree = Any
_SELF_TRAINING = 0.1  # of the backbone's rate, for every start


def stages(recipe: Recipe, nets: Nets, inputs: Inputs) -> tuple[Stage, ...]:
  """Returns the stages of a run.

  Raises:
    FileNotFoundError, ValueError: a controller that is not there, or of other groups.
  """
  epoch, found = n_batches(inputs.train), []
  caches = recipe.proxy.cache_teacher and recipe.proxy.weight > 0
  train = with_teacher(nets, inputs.train) if caches else inputs.train
  if nets.loaded is None:
    assert inputs.pretrain is not None  # `recipe.check` has seen to it
    data = Resident(
      inputs.pretrain, min(recipe.pretrain.batch, len(inputs.pretrain["label"])), remainder="drop"
    )
    step = partial(pretrain_step, recipe, nets, pretrain_optimizer(recipe))
    found.append(Stage("pretrain", recipe.pretrain.steps, step, data))
  keys, theta = recipe.controller, None
  if recipe.rates.kind == "learned" and not keys.path:
    settings = settings_of(recipe, nets, epoch=epoch, steps=keys.steps, action="sampled")
    step = partial(controller_step, recipe, nets, settings)
    enter = partial(_enter_controller, recipe, nets, settings)
    found.append(Stage("controller", keys.episodes * keys.steps, step, train, enter=enter))
  elif recipe.rates.kind == "learned":
    theta = load_controller(keys.path, nets.policy)
  settings = settings_of(recipe, nets, epoch=epoch, steps=recipe.tune.steps, action=keys.action)
  step = partial(finetune_step, recipe, nets, settings)
  enter = partial(_enter_finetune, recipe, nets, settings, theta)
  looks = {"held_out": Resident(inputs.held_out), "quick": Resident(inputs.quick)}
  found.append(Stage("finetune", recipe.tune.steps, step, train, also=looks, enter=enter))
  # Without their labels, which self-training must not see.
  target = Resident(
    {"image": inputs.quick["image"]}, min(recipe.tune.batch, len(inputs.quick["label"])), remainder="drop"
  )
  shared = partial(cbst_step, recipe, nets)
  for i in range(recipe.cbst.rounds):
    share = min(recipe.cbst.first + i * recipe.cbst.grow, recipe.cbst.most)
    enter = partial(_enter_round, recipe, nets, share, i == 0)
    also = {"target": target}
    found.append(Stage(f"cbst_{i + 1}", recipe.cbst.steps, shared, inputs.train, also=also, enter=enter))
  return tuple(found)


def pretrain_optimizer(recipe: Recipe) -> Any:
  """Makes the teacher's optimizer, warmed up and decayed: SGD with momentum; of VGG, without norms, Adam."""
  keys = recipe.pretrain
  rate = warmup_poly(keys.rate, keys.steps, warmup=max(1, keys.steps // 10))
  return optax.adam(rate) if recipe.pixels else torch_sgd(rate, weight_decay=5e-4)


def first_state(recipe: Recipe, nets: Nets, key: jax.Array) -> State:
  """Returns the state that training starts from: student, teacher, and the optimizer of the first stage."""
  key, draw = jax.random.split(key)
  params, teacher = first_weights(nets, draw)
  state: State = {"params": params, "teacher": teacher, "key": key}
  if nets.loaded is None:
    return {**state, "tx": pretrain_optimizer(recipe).init({k: teacher[k] for k in ("trunk", "old")})}
  return state


def with_teacher(nets: Nets, train: Any) -> Resident:
  """Returns training pictures with the teacher's `old_logits`, float16 [n, old classes], computed once."""
  assert isinstance(train, Resident) and train.batch_size is not None  # `recipe.check` has seen to it
  images, size = train.arrays["image"], min(EVALUATED, len(train.arrays["label"]))
  run = jax.jit(lambda teacher, x: teach(nets.moved("top"), teacher, x)[0])
  full = np.concatenate([images, np.repeat(images[:1], -len(images) % size, axis=0)])
  rows = [np.asarray(run(nets.loaded, full[i : i + size]), np.float16) for i in range(0, len(full), size)]
  return train._replace(arrays={**train.arrays, "old_logits": np.concatenate(rows)[: len(images)]})


def _enter_controller(recipe: Recipe, nets: Nets, settings: Settings, state: State, sweep: Sweep) -> State:
  del sweep
  start = start_controller(recipe, nets, settings, state["teacher"], state["key"])
  return {**_base(state), "controller": start}


def _enter_finetune(
  recipe: Recipe, nets: Nets, settings: Settings, theta: Tree, state: State, sweep: Sweep
) -> State:
  """Starts fine-tuning: a student of the teacher, its optimizer, and places for what is kept."""
  del sweep
  # Methods of one seed have one start and the same augmentation: no stage changes the key.
  key = jax.random.fold_in(state["key"], 2)
  params = student_of(nets, state["teacher"], key)
  new: State = {**_base(state), "params": params}
  if "controller" in state:
    kept = ("theta", "best_theta", "best", "updates")
    new["controller"] = {name: state["controller"][name] for name in kept}
  elif theta is not None:
    new["controller"] = {"best_theta": jax.tree.map(jnp.asarray, theta)}
  optimizer = optimizer_of(recipe, nets, settings, new.get("controller"), jax.random.fold_in(key, 1))
  new["tx"] = optimizer.init(params)
  if recipe.rates.kind == "random_init":
    drawn = jax.random.randint(jax.random.fold_in(key, 2), (len(nets.names),), 0, nets.policy.actions)
    new["tx"] = set_multipliers(new["tx"], drawn / (nets.policy.actions - 1))
  elif (given_rates := multipliers_at(recipe, nets, jnp.zeros((), jnp.int32))) is not None:
    new["tx"] = set_multipliers(new["tx"], given_rates)
  new["kept"] = {side: jax.tree.map(jnp.copy, params) for side in ("synthetic", "target")}
  new["best"] = {side: jnp.asarray(-1.0) for side in ("synthetic", "target")}
  new["last"] = {
    side: jnp.asarray(1 / nets.classes) for side in ("synthetic", "target")
  }  # not trained: chance
  new["equal"] = jnp.asarray(-1.0)
  if recipe.anchor.kind == "synaptic":
    new["importance"] = init_importance(params["trunk"])._asdict()
  if recipe.rates.kind in WINDOWED:
    count, groups = count_decisions(settings), len(nets.names)
    new["trace"] = {
      "step": jnp.zeros(count, jnp.int32),
      "multipliers": jnp.zeros((count, groups)),
      "observation": jnp.zeros((count, 5)),
      "rewards": jnp.zeros(()),
      "windows": jnp.zeros(()),
    }
  return new


def _base(state: State) -> State:
  return {"params": state["params"], "teacher": state["teacher"], "key": state["key"]}


def _enter_round(recipe: Recipe, nets: Nets, share: float, first: bool, state: State, sweep: Sweep) -> State:
  """Labels the real pictures by the network as it is, and starts a round from it."""
  params = chosen(recipe, state) if first else state["params"]
  now = {**state, "params": params}
  most, likeliest = sweep(partial(_likeliest, nets), now, over="target")
  now["thresholds"] = class_thresholds(most, likeliest, nets.classes, share)
  pseudo = sweep(partial(_accepted, nets), now, over="target")
  tx = grouped_optimizer(recipe, nets, recipe.cbst.steps).init(params)
  rates = fixed_multipliers(recipe.rates._replace(backbone=_SELF_TRAINING, decay=0.0, trained=()), nets.names)
  return {**now, "tx": set_multipliers(tx, jnp.asarray(rates)), "pseudo": pseudo}


def _probabilities(nets: Nets, state: State, batch: Any) -> jax.Array:
  seen = see(nets.moved("loop"), state["params"], state["teacher"], batch["image"])
  return jax.nn.softmax(seen.logits)


def _likeliest(nets: Nets, state: State, batch: Any) -> tuple[jax.Array, jax.Array]:
  probabilities = _probabilities(nets, state, batch)
  return jnp.max(probabilities, axis=-1), jnp.argmax(probabilities, axis=-1).astype(jnp.uint8)


def _accepted(nets: Nets, state: State, batch: Any) -> jax.Array:
  return accepted_labels(_probabilities(nets, state, batch), state["thresholds"]).astype(jnp.int8)


def chosen(recipe: Recipe, state: State) -> Tree:
  """Returns the weights that the recipe selects: the last, or the best on a held-out side."""
  if recipe.tune.select == "last" or "pseudo" in state:  # self-training has its own last weights
    return state["params"]
  return state["kept"][recipe.tune.select]
