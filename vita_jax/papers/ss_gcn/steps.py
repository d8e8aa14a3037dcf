"""The training step of SS-GCN, the same for all hosts, tasks and mechanisms.

Step `t` first judges the weights that `t` epochs left behind (validation loss without dropout), then
trains epoch `t + 1`. Judging and training read the same weights, so they share the costly input product
of the first layer; a run of E epochs therefore has E + 1 steps, the last of which only judges.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vita_jax import metrics
from vita_jax.losses.xent import cross_entropy
from vita_jax.papers.ss_gcn import losses, protocol
from vita_jax.train.experiment import Metrics, State

Batch = Mapping[str, Any]
Keys = tuple[jax.Array | None, ...]  # dropout of the passes of target, task and attacked graph; None: none


class Objective(NamedTuple):
  """What an epoch minimises: the target loss (`target`), the self-supervised one (`ss_weight` set), or both.

  `ss_weight` is None without self-supervision; with `target` false it is not read. `supervised` is called as
  `labelled` is. `ties` says which of equally good validation epochs is kept, "first" or "last".
  """

  task: str
  target: bool
  ss_weight: float | None
  epochs: int
  ss_view: str  # the graph of the self-supervised pass: "full" or "no_self"
  first_epoch_dropout_only: bool  # as the released GIN and GAT
  supervised: Callable[..., jax.Array] | None = None  # the target loss; None: `labelled`
  ties: str = "first"
  completion_scale: float = losses.COMPLETION_SCALE


def make_step(model: Any, tx: optax.GradientTransformation, objective: Objective) -> Callable:
  """Returns `step(state, batch, t) -> (state, metrics)`: `train_step` of this model, optimizer and objective.

  The state holds `params`, `tx`, `key`, the fields of `protocol.start`, and in self-training `labels`
  int32 [N] and `label_mask` bool [N], which replace the graph's own training labels; in adversarial training
  `attacked` (see `adversarial.enter`); in GMNN what `gmnn.stages` says.
  """
  return functools.partial(train_step, model, tx, objective)


def train_step(
  model: Any,
  tx: optax.GradientTransformation,
  objective: Objective,
  state: State,
  batch: Batch,
  t: jax.Array,
) -> tuple[State, Metrics]:
  """Judges the weights of epoch `t`, then trains epoch `t + 1`; a state that has stopped stays as it is."""
  grads, (logits, values) = _gradient(model, objective, state, batch, t)
  nodes = batch["graph"].nodes
  validation = cross_entropy(logits, nodes["labels"], nodes["validation"])
  right = metrics.accuracy(logits, nodes["labels"], nodes["validation"])
  accuracy = right[0] / jnp.maximum(right[1], 1.0)
  summed: dict[str, Any] = {name: metrics.once(value) for name, value in values.items()}
  judged = {"validation_loss": validation, "validation_accuracy": accuracy}
  summed |= {name: metrics.last(value, at=t) for name, value in judged.items()}
  if objective.target:  # pre-training has a fixed length
    state = protocol.judge(state, t, loss=validation, accuracy=accuracy, ties=objective.ties)
  updates, tx_state = tx.update(grads, state["tx"], state["params"])
  trained = {"params": optax.apply_updates(state["params"], updates), "tx": tx_state, "epochs": t + 1}
  halt = state["stopped"] | (t >= objective.epochs)
  kept = {name: state[name] for name in trained}
  return {**state, **jax.tree.map(lambda x, y: jnp.where(halt, x, y), kept, trained)}, summed


def _gradient(model: Any, objective: Objective, state: State, batch: Batch, t: jax.Array) -> Any:
  """Returns the gradient of `_loss` at epoch `t`, and what `_loss` returns beside its value."""
  key = jax.random.fold_in(state["key"], t)
  # One key per pass, by name: adding the self-supervised pass does not change the target's dropout.
  keys = tuple(jax.random.fold_in(key, i) for i in range(3))
  gradient = functools.partial(
    jax.grad(_loss, has_aux=True), state["params"], state, batch, t, model=model, objective=objective
  )
  if objective.first_epoch_dropout_only:
    return jax.lax.cond(t == 0, lambda: gradient(keys=keys), lambda: gradient(keys=(None,) * 3))
  return gradient(keys=keys)


def _loss(
  params: Any, state: State, batch: Batch, t: jax.Array, *, keys: Keys, model: Any, objective: Objective
) -> tuple[jax.Array, tuple[jax.Array, dict[str, jax.Array]]]:
  """Computes the objective; beside it the logits without dropout, and the values of its parts."""
  views = ("full",) if objective.ss_view == "full" else ("full", objective.ss_view)
  graph, features = batch["adjacency"], batch["features"]
  apply = functools.partial(model.apply, {"params": params})
  projected = apply(features, graph, views, method="project_views")
  judged = apply(projected[0], graph, "full", None, method="heads")["target"]
  target_key, ss_key, attacked_key = keys
  other, seen = projected, batch  # what the self-supervised pass reads
  if "attacked" in state:
    seen = {**batch, **state["attacked"]}
    other = apply(seen["features"], seen["adjacency"], views, method="project_views")
  values: dict[str, jax.Array] = {}
  total: Any = 0.0
  if objective.target:
    supervised = objective.supervised or labelled
    total = values["loss"] = supervised(model, params, projected[0], state, batch, target_key, t)
  if objective.ss_weight is not None:
    outputs = apply(other[-1], seen["adjacency"], objective.ss_view, ss_key, method="heads")["ss"]
    target = seen["ss_target"], seen["ss_mask"]
    ss = losses.self_supervised(objective.task, outputs, *target, scale=objective.completion_scale)
    values["ss_loss"] = ss
    total = losses.multitask(objective.task, total, ss, objective.ss_weight) if objective.target else ss
  if "attacked" in state:
    logits = apply(other[0], seen["adjacency"], "full", attacked_key, method="heads")["target"]
    for name, mask in seen["masks"].items():
      values[f"{name}_loss"] = cross_entropy(logits, seen["labels"], mask)
      total += values[f"{name}_loss"]
  return total, (judged, values)


def labelled(
  model: Any, params: Any, projected: Any, state: State, batch: Batch, key: jax.Array | None, t: jax.Array
) -> jax.Array:
  """Computes the cross-entropy of the training labels, in a pass with the dropout of `key`."""
  del t
  outputs = model.apply({"params": params}, projected, batch["adjacency"], "full", key, method="heads")
  return cross_entropy(outputs["target"], *training_labels(state, batch))


def training_labels(state: State, batch: Batch) -> tuple[jax.Array, jax.Array]:
  """Returns the labels int32 [N] and mask [N] of the target loss: the graph's, or those that have grown."""
  if "labels" in state:
    return state["labels"], state["label_mask"]
  nodes = batch["graph"].nodes
  return nodes["labels"], nodes["train"]


def final_params(state: State) -> Any:
  """Returns the weights of the result: the last ones, or those of the best validation epoch."""
  return state.get("kept", state["params"])


def test_step(model: Any, split: str) -> Callable[[State, Batch], Metrics]:
  """Returns `(state, batch) -> metrics`: accuracy and loss of the result's weights on one split."""
  return functools.partial(_test, model, split)


def _test(model: Any, split: str, state: State, batch: Batch) -> Metrics:
  logits = outputs_of(model, state, batch)["target"]
  nodes = batch["graph"].nodes
  loss = cross_entropy(logits, nodes["labels"], nodes[split])
  return {
    "accuracy": metrics.accuracy(logits, nodes["labels"], nodes[split]),
    "loss": metrics.once(loss),
  }


def outputs_of(model: Any, state: State, batch: Batch) -> dict[str, jax.Array]:
  """Returns what the result's weights give on the whole graph, without dropout."""
  params = {"params": final_params(state)}
  return model.apply(params, batch["features"], batch["adjacency"], "full", None)
