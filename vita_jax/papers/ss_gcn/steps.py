"""The training step of SS-GCN, the same for all hosts, tasks and mechanisms.

Step `t` first judges the weights that `t` epochs left behind (validation loss without dropout), then
trains epoch `t + 1`. Judging and training read the same weights, so they share the costly input product
of the first layer; a run of E epochs therefore has E + 1 steps, the last of which only judges.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vita_jax import metrics
from vita_jax.papers.ss_gcn import losses, protocol
from vita_jax.train.experiment import State


class Objective(NamedTuple):
  """What an epoch minimises: the target loss (`target`), the self-supervised one (`ss_weight` set), or both.

  `ss_weight` is None without self-supervision; with `target` false it is not read.
  """

  task: str
  target: bool
  ss_weight: float | None
  epochs: int
  ss_view: str  # the graph of the self-supervised pass: "full" or "no_self"
  first_epoch_dropout_only: bool  # as the released GIN and GAT


def make_step(model: Any, tx: optax.GradientTransformation, objective: Objective) -> Callable:
  """Builds `step(state, batch, t) -> (state, metrics)`.

  The state holds `params`, `tx`, `key`, the fields of `protocol.start`, and in self-training `labels`
  int32 [N] and `label_mask` bool [N], which replace the graph's own training labels.
  """
  views = ("full",) if objective.ss_view == "full" else ("full", objective.ss_view)

  def loss(params, state, batch, keys):
    graph, features = batch["graph"], batch["features"]
    apply = lambda method, *args: model.apply({"params": params}, *args, method=method)  # noqa: E731
    projected = apply("project_views", features, graph, views)
    judged = apply("heads", projected[0], graph, "full", None)["target"]
    target_key, ss_key = keys
    values, total = {}, 0.0
    if objective.target:
      logits = apply("heads", projected[0], graph, "full", target_key)["target"]
      labels, mask = training_labels(state, batch)
      total = values["loss"] = losses.cross_entropy(logits, labels, mask)
    if objective.ss_weight is not None:
      outputs = apply("heads", projected[-1], graph, objective.ss_view, ss_key)["ss"]
      ss = losses.self_supervised(objective.task, outputs, batch["ss_target"], batch["ss_mask"])
      values["ss_loss"] = ss
      both = objective.target
      total = losses.multitask(objective.task, total, ss, objective.ss_weight) if both else ss
    return total, (judged, values)

  def gradient(state, batch, t):
    key = jax.random.fold_in(state["key"], t)
    # One key per pass, by name: adding the self-supervised pass does not change the target's dropout.
    keys = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    run = lambda keys: jax.grad(loss, has_aux=True)(state["params"], state, batch, keys)  # noqa: E731
    if objective.first_epoch_dropout_only:
      return jax.lax.cond(t == 0, lambda: run(keys), lambda: run((None, None)))
    return run(keys)

  def step(state: State, batch, t):
    grads, (logits, values) = gradient(state, batch, t)
    nodes = batch["graph"].nodes
    validation = losses.cross_entropy(logits, nodes["labels"], nodes["validation"])
    right = metrics.accuracy(logits, nodes["labels"], nodes["validation"])
    values = {**values, "validation_loss": validation}
    one = jnp.asarray(1.0)
    summed = {name: (value, one) for name, value in values.items()} | {"validation_accuracy": right}
    if objective.target:  # pre-training has a fixed length
      accuracy = right[0] / jnp.maximum(right[1], 1.0)
      state = protocol.judge(state, t, loss=validation, accuracy=accuracy)
    updates, tx_state = tx.update(grads, state["tx"], state["params"])
    trained = {"params": optax.apply_updates(state["params"], updates), "tx": tx_state, "epochs": t + 1}
    halt = state["stopped"] | (t >= objective.epochs)
    kept = {name: state[name] for name in trained}
    return {**state, **jax.tree.map(lambda x, y: jnp.where(halt, x, y), kept, trained)}, summed

  return step


def training_labels(state: State, batch) -> tuple[jax.Array, jax.Array]:
  """(labels int32 [N], mask [N]) of the target loss: the graph's own, or those self-training has grown."""
  if "labels" in state:
    return state["labels"], state["label_mask"]
  nodes = batch["graph"].nodes
  return nodes["labels"], nodes["train"]


def test_step(model: Any, params_of: Callable[[State], Any], split: str) -> Callable:
  """`(state, batch) -> metrics`: accuracy and loss of the result's weights on one split."""

  def step(state, batch):
    graph = batch["graph"]
    outputs = model.apply({"params": params_of(state)}, batch["features"], graph, "full", None)
    labels, mask = graph.nodes["labels"], graph.nodes[split]
    loss = losses.cross_entropy(outputs["target"], labels, mask)
    return {"accuracy": metrics.accuracy(outputs["target"], labels, mask), "loss": (loss, jnp.asarray(1.0))}

  return step
