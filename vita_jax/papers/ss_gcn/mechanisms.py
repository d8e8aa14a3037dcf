"""The three mechanisms as stages: multi-task, pre-train & fine-tune, self-training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import optax

from vita_jax.data.resident import Resident
from vita_jax.papers.ss_gcn import protocol
from vita_jax.papers.ss_gcn.self_training import enlarge
from vita_jax.papers.ss_gcn.steps import Objective, make_step, training_labels
from vita_jax.train.experiment import Stage, State

# What the self-supervised head reads; the rest belongs to the target head and starts afresh.
ENCODER = {
  "gcn": ("input",),
  "gin": ("input", "epsilon"),
  "gat": ("input", "attention_1"),
}


def stages(
  config: Any,
  model: Any,
  tx: optax.GradientTransformation,
  objective: Objective,
  data: Resident,
  init_params: Callable[[jax.Array], Any],
) -> tuple[Stage, ...]:
  """The stages of `config.mechanism`.

  Raises:
    ValueError: pre-training or self-training without a task that can serve it.
  """
  last = Stage("train", objective.epochs + 1, make_step(model, tx, objective), data, done=stopped)
  if config.mechanism == "multitask":
    return (last,)
  if config.mechanism == "pretrain":
    if config.task == "none":
      raise ValueError("config.mechanism=pretrain needs a task: --config=...:partition (or cluster, ...)")
    first = objective._replace(target=False, epochs=config.pretrain.epochs)
    alone = make_step(model, tx, objective._replace(ss_weight=None))
    return (
      Stage("pretrain", first.epochs, make_step(model, tx, first), data),
      last._replace(name="finetune", step=alone, enter=_finetune(config, tx, init_params)),
    )
  if config.task not in ("cluster", "partition", "random_labels"):
    raise ValueError(
      f"config.mechanism=self_training takes pseudo-classes from cluster or partition, not '{config.task}'"
    )
  alone = last._replace(step=make_step(model, tx, objective._replace(ss_weight=None)))
  grow = _grow(config, model)
  names = [f"train_{i}" for i in range(config.self_training.rounds + 1)]
  first = alone._replace(name=names[0], enter=_own_labels)
  return (first, *(alone._replace(name=name, enter=grow) for name in names[1:]))


def stopped(state: State, t: jax.Array) -> jax.Array:
  """Whether the early-stop rule has fired."""
  del t
  return state["stopped"]


def _restart(state: State, config: Any) -> State:
  """A fresh protocol and new dropout masks for the next stage."""
  key = jax.random.fold_in(state["key"], 1)
  return {**state, **protocol.start(config.protocol, state["params"]), "key": key}


def _finetune(config: Any, tx: optax.GradientTransformation, init_params: Callable) -> Callable:
  def enter(state: State, sweep) -> State:
    del sweep
    fresh = init_params(jax.random.fold_in(state["key"], 2))
    kept = {name: state["params"][name] for name in ENCODER[config.host]}
    params = {**fresh, **kept}
    return _restart({**state, "params": params, "tx": tx.init(params)}, config)

  return enter


def _own_labels(state: State, sweep) -> State:
  labels, mask = sweep(lambda s, batch: training_labels(s, batch), state)
  return {**state, "labels": labels, "label_mask": mask}


def _grow(config: Any, model: Any) -> Callable:
  settings = config.self_training
  by_task = config.task != "cluster"  # parts (or random labels) vouch for candidates; else k-means does
  n_clusters = config.ss[config.host].n_outputs if by_task else settings.n_clusters

  def enter(state: State, sweep) -> State:
    def grown(state, batch):
      graph = batch["graph"]
      outputs = model.apply({"params": state["params"]}, batch["features"], graph, "full", None)
      return enlarge(
        state["labels"],
        state["label_mask"],
        outputs["target"],
        outputs["hidden"],
        jax.random.fold_in(state["key"], 3),
        pool_mask=graph.nodes["pool"],
        per_class=settings.per_class,
        n_clusters=n_clusters,
        n_classes=model.n_classes,
        assignment=batch["ss_target"] if by_task else None,
      )

    labels, mask = sweep(grown, state)
    return _restart({**state, "labels": labels, "label_mask": mask}, config)

  return enter
