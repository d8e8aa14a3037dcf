"""Mechanisms as stages (multi-task, pre-training, self-training), adversarial training, and hosts' own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax

from vita_jax.data.graphs import Graph
from vita_jax.data.resident import Resident
from vita_jax.nn.graph_self_training import enlarge
from vita_jax.papers.ss_gcn import gmnn, graphmix, losses, protocol
from vita_jax.papers.ss_gcn.adversarial import make_enter
from vita_jax.papers.ss_gcn.recipe import OWN, Recipe
from vita_jax.papers.ss_gcn.steps import Objective, make_step, training_labels
from vita_jax.train.experiment import Stage, State, Sweep

# What the self-supervised head reads; the rest belongs to the target head and starts afresh.
ENCODER = {
  "gcn": ("input",),
  "gin": ("input", "epsilon"),
  "gat": ("input", "attention_1"),
  "mlp": ("input",),
}
_OWN_STAGES = {"gmnn": gmnn.stages, "graphmix": graphmix.stages}
Init = Callable[[jax.Array], Any]  # key -> parameters


def stages(recipe: Recipe, model: Any, data: Resident, init_params: Init, graph: Graph) -> tuple[Stage, ...]:
  """Returns the stages of the recipe's mechanism; the last one trains on the labels."""
  objective = objective_of(recipe)
  if recipe.host in _OWN_STAGES:
    return _OWN_STAGES[recipe.host](recipe, model, data, objective)
  alone = make_step(model, recipe.tx, objective._replace(ss_weight=None))
  last = Stage("train", recipe.epochs + 1, alone, data, done=stopped)
  together = last._replace(step=make_step(model, recipe.tx, objective))
  if recipe.adversarial != "none":
    enter = make_enter(recipe, model, graph, init_params)
    return last, together._replace(name="adversarial", enter=enter)
  if recipe.mechanism == "multitask":
    return (together,)
  if recipe.mechanism == "pretrain":
    first = make_step(model, recipe.tx, objective._replace(target=False, epochs=recipe.pretrain_epochs))
    fresh = functools.partial(finetune, recipe, init_params)
    return (
      Stage("pretrain", recipe.pretrain_epochs, first, data),
      last._replace(name="finetune", enter=fresh),
    )
  enters: list[Callable[[State, Sweep], State]] = [own_labels]
  enters += [functools.partial(grow, recipe, model)] * recipe.rounds
  return tuple(last._replace(name=f"train_{i}", enter=enter) for i, enter in enumerate(enters))


def objective_of(recipe: Recipe) -> Objective:
  """Returns what multi-task learning minimises; the other mechanisms take parts of it."""
  no_self = recipe.task == "completion" and not recipe.released
  return Objective(
    task=recipe.task,
    target=True,
    ss_weight=recipe.ss_weight,
    epochs=recipe.epochs,
    ss_view="no_self" if no_self else "full",
    first_epoch_dropout_only=recipe.released,
    # Their weights λ are for targets of order 1 and no factor: see `data.full_batch`.
    completion_scale=1.0 if recipe.host in OWN else losses.COMPLETION_SCALE,
  )


def stopped(state: State, t: jax.Array) -> jax.Array:
  """Tells whether the early-stop rule has fired."""
  del t
  return state["stopped"]


def restart(state: State, recipe: Recipe) -> State:
  """Returns the state with a fresh protocol and new dropout masks, for the next stage."""
  key = jax.random.fold_in(state["key"], 1)
  return {**state, **protocol.start(recipe.protocol, state["params"]), "key": key}


def finetune(recipe: Recipe, init_params: Init, state: State, sweep: Sweep) -> State:
  """Enters fine-tuning: keeps the pre-trained encoder, draws the target head and the optimizer anew."""
  del sweep
  fresh = init_params(jax.random.fold_in(state["key"], 2))
  kept = {name: state["params"][name] for name in ENCODER[recipe.host]}
  params = {**fresh, **kept}
  return restart({**state, "params": params, "tx": recipe.tx.init(params)}, recipe)


def own_labels(state: State, sweep: Sweep) -> State:
  """Enters self-training: the graph's own training labels become part of the state."""
  labels, mask = sweep(training_labels, state)
  return {**state, "labels": labels, "label_mask": mask}


def grow(recipe: Recipe, model: Any, state: State, sweep: Sweep) -> State:
  """Enters a further round of self-training: confident nodes join the labelled set; see `enlarge`."""
  labels, mask = sweep(functools.partial(_grown, recipe, model), state)
  return restart({**state, "labels": labels, "label_mask": mask}, recipe)


def _grown(recipe: Recipe, model: Any, state: State, batch: Mapping[str, Any]) -> tuple[jax.Array, jax.Array]:
  by_task = recipe.task != "cluster"  # parts (or random labels) vouch for candidates; else k-means does
  inputs = (batch["features"], batch["adjacency"], "full", None)
  outputs = model.apply({"params": state["params"]}, *inputs)
  return enlarge(
    state["labels"],
    state["label_mask"],
    outputs["target"],
    outputs["hidden"],
    jax.random.fold_in(state["key"], 3),
    pool_mask=batch["graph"].nodes["pool"],
    per_class=recipe.per_class,
    n_clusters=recipe.n_outputs if by_task else recipe.embedding_clusters,
    n_classes=model.n_classes,
    assignment=batch["ss_target"] if by_task else None,
  )
