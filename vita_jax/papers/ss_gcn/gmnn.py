"""GMNN as stages: a network q of features and a network p of labels teach each other.

"pretrain": q learns the training labels; its weights and optimizer of the best validation epoch go on. Then,
in each round, "p_i": labels are drawn from q for all nodes (known ones on training nodes), and p learns to
tell a node's label from the labels around it; "q_i": q learns, on all nodes, what p predicts. Tested are q's
weights of the best validation epoch of all rounds. A self-supervised task takes part in every update of
both networks. Source: Qu, Bengio, Tang, ICML 2019 (arXiv 1905.06214), in the form of SS-GCN's released code.

Beside the fields of `steps.make_step` the state has `kept_tx` in "pretrain", and from then on `targets`
float32 [N, C], what is being learned (and the inputs of p), and `p`, its `params` and `tx`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.data.resident import Resident
from vita_jax.papers.ss_gcn import losses
from vita_jax.papers.ss_gcn.recipe import Recipe
from vita_jax.papers.ss_gcn.steps import Batch, Objective, make_step, train_step
from vita_jax.train.experiment import Metrics, Stage, State, Sweep


def stages(recipe: Recipe, model: Any, data: Resident, objective: Objective) -> tuple[Stage, ...]:
  """Returns the stages of a run; `objective` is that of multi-task learning."""
  own = recipe.gmnn
  first = objective._replace(epochs=own.pretrain_epochs)
  later = objective._replace(epochs=own.epochs, supervised=taught)
  pretrain = functools.partial(pretrain_step, model, recipe.tx, first)
  p_step = functools.partial(labels_step, model, recipe.tx, later)
  q_step = make_step(model, recipe.tx, later)
  found = [Stage("pretrain", own.pretrain_epochs + 1, pretrain, data, enter=with_kept_optimizer)]
  for i in range(own.rounds):
    draw = functools.partial(enter_p, recipe, model, data, i == 0)
    teach = functools.partial(enter_q, model, i == 0)
    found.append(Stage(f"p_{i}", own.epochs, p_step, data, enter=draw))
    found.append(Stage(f"q_{i}", own.epochs + 1, q_step, data, enter=teach))
  return tuple(found)


def taught(
  model: Any, params: Any, projected: Any, state: State, batch: Batch, key: jax.Array | None, t: jax.Array
) -> jax.Array:
  """Computes the cross-entropy of `state["targets"]` on all nodes; called as `steps.labelled` is."""
  del t
  outputs = model.apply({"params": params}, projected, batch["adjacency"], "full", key, method="heads")
  return losses.soft_cross_entropy(outputs["target"], state["targets"])


def pretrain_step(
  model: Any, tx: Any, objective: Objective, state: State, batch: Batch, t: jax.Array
) -> tuple[State, Metrics]:
  """Does `steps.train_step`, and keeps the optimizer of the best validation epoch beside its weights."""
  new, metrics = train_step(model, tx, objective, state, batch, t)
  better = new["best"] > state["best"]
  kept = jax.tree.map(functools.partial(jnp.where, better), state["tx"], state["kept_tx"])
  return {**new, "kept_tx": kept}, metrics


def labels_step(
  model: Any, tx: Any, objective: Objective, state: State, batch: Batch, t: jax.Array
) -> tuple[State, Metrics]:
  """Trains p as `steps.train_step` trains q; its features are `state["targets"]`, and no epoch is kept."""
  learner = {**state, **state["p"], "kept": state["p"]["params"]}
  new, metrics = train_step(model, tx, objective, learner, {**batch, "features": state["targets"]}, t)
  return {**state, "p": {name: new[name] for name in state["p"]}}, metrics


def with_kept_optimizer(state: State, sweep: Sweep) -> State:
  """Enters pre-training."""
  del sweep
  return {**state, "kept_tx": state["tx"]}


def enter_p(recipe: Recipe, model: Any, data: Resident, first: bool, state: State, sweep: Sweep) -> State:
  """Enters the training of p: draws labels from q, which before the first round is that of its best epoch."""
  key = jax.random.fold_in(state["key"], 1)
  if first:
    params = _first_p(model, data.arrays, jax.random.fold_in(state["key"], 2))
    p = {"params": params, "tx": recipe.tx.init(params)}
    q = {"params": state["kept"], "tx": state["kept_tx"]}
    state = {**{name: x for name, x in state.items() if name != "kept_tx"}, **q, "p": p}
  targets = sweep(functools.partial(drawn, recipe.gmnn, model), {**state, "key": key})
  return {**state, "key": jax.random.fold_in(key, 0), "targets": targets}


def enter_q(model: Any, first: bool, state: State, sweep: Sweep) -> State:
  """Enters the training of q on what p predicts; the best epoch is looked for from the first round on."""
  targets = sweep(functools.partial(predicted, model), state)
  fresh = {"best": jnp.asarray(-jnp.inf, jnp.float32), "kept": state["params"]} if first else {}
  return {**state, **fresh, "key": jax.random.fold_in(state["key"], 1), "targets": targets}


def drawn(own: Any, model: Any, state: State, batch: Mapping[str, Any]) -> jax.Array:
  """Returns labels that q says, float32 [N, C]: drawn as one-hot rows, or its softmax, by `gmnn.draw`."""
  logits = _logits(model, state["params"], batch["features"], batch) / own.temperature
  if own.draw == "soft":
    return _known(jax.nn.softmax(logits), batch)
  return _known(jax.nn.one_hot(jax.random.categorical(state["key"], logits), logits.shape[-1]), batch)


def predicted(model: Any, state: State, batch: Mapping[str, Any]) -> jax.Array:
  """Returns what p says of the labels that it was trained on, float32 [N, C]."""
  return _known(jax.nn.softmax(_logits(model, state["p"]["params"], state["targets"], batch)), batch)


def _logits(model: Any, params: Any, features: Any, batch: Mapping[str, Any]) -> jax.Array:
  return model.apply({"params": params}, features, batch["adjacency"], "full", None)["target"]


def _known(shares: jax.Array, batch: Mapping[str, Any]) -> jax.Array:
  nodes = batch["graph"].nodes
  return jnp.where(nodes["train"][:, None], jax.nn.one_hot(nodes["labels"], shares.shape[-1]), shares)


def _first_p(model: Any, batch: Mapping[str, Any], key: jax.Array) -> Any:
  labels = jnp.zeros((len(batch["graph"].nodes["labels"]), model.n_classes))
  return model.init(key, labels, batch["adjacency"], "full", None)["params"]
