"""SS-GCN: When Does Self-Supervision Help Graph Convolutional Networks? (ICML 2020, arXiv 2006.09136)

Claim: pseudo-labels computed from the graph itself (clusters of features, parts of the graph, features
to be completed from neighbours), learned by a second head on a shared encoder, improve semi-supervised
node classification; multi-task learning does it better than pre-training or self-training.
"""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import optax

from vita_jax.base.choose import choose
from vita_jax.base.tree import path_name
from vita_jax.data.resident import Resident
from vita_jax.papers.ss_gcn import protocol
from vita_jax.papers.ss_gcn.config import AT_LEAST, HOSTS, MECHANISMS
from vita_jax.papers.ss_gcn.export import exported
from vita_jax.papers.ss_gcn.figures import embedding
from vita_jax.papers.ss_gcn.inputs import full_batch, read_graph
from vita_jax.papers.ss_gcn.labels import self_supervision
from vita_jax.papers.ss_gcn.mechanisms import stages
from vita_jax.papers.ss_gcn.model import HOSTS as MODELS
from vita_jax.papers.ss_gcn.steps import Objective, test_step
from vita_jax.train.config import check_at_least
from vita_jax.train.experiment import Eval, Experiment, Report


def build(config: Any) -> Experiment:
  """The experiment of a config: loads the graph, makes or fetches its self-supervised labels.

  Args:
    config: from `configs/ss_gcn/*.py`; every field is explained in `papers/ss_gcn/config.py`.

  Raises:
    ValueError, FileNotFoundError, ImportError: an unknown option, missing or unusable data, no pymetis.
  """
  choose("config.host", config.host, HOSTS)
  choose("config.mechanism", config.mechanism, MECHANISMS)
  check_at_least(config, AT_LEAST)
  graph = read_graph(config)
  if not graph.val_mask.any():
    raise ValueError(f"graph '{graph.name}' has an empty val_mask: the protocol needs validation nodes")
  task, settings = config.task, config.get("ss", {}).get(config.host, {"weight": None, "n_outputs": 0})
  clustering = config.get("clustering", {"n_clusters": 0, "align": "classes"})
  supervision = self_supervision(
    graph,
    task,
    n_clusters=clustering["n_clusters"],
    align=clustering["align"],
    n_parts=settings["n_outputs"],
    rank=settings["n_outputs"],
    seed=config.labels_seed,
    cache_dir=config.cache_dir or None,
  )
  batch = full_batch(config, graph, supervision)
  model = MODELS[config.host](
    n_classes=graph.n_classes,
    n_ss_outputs=supervision.n_outputs if supervision else 0,
    hidden=config.hidden,
    dtype=jnp.dtype(config.dtype),
  )
  released = config.faithful_to_code and config.host != "gcn"
  objective = Objective(
    task=task,
    target=True,
    ss_weight=settings["weight"],
    epochs=config.epochs,
    ss_view="no_self" if task == "completion" and not released else "full",
    first_epoch_dropout_only=released,
  )
  tx = optimizer(config)

  def init_params(key):
    return model.init(key, batch["features"], batch["graph"], "full", None)["params"]

  def init(key):
    params = init_params(key)
    start = protocol.start(config.protocol, params)
    return {"params": params, "tx": tx.init(params), "key": key, **start}

  def params_of(state):
    return state.get("kept", state["params"])

  data = Resident(batch)
  evals = {split: Eval(data, test_step(model, params_of, split), every=0) for split in ("validation", "test")}

  def report(state, evaluate, sweep):
    values = {name: evaluate(name, state) for name in evals}
    numbers = {f"{name}_{metric}": v for name, found in values.items() for metric, v in found.items()}
    numbers["epochs"] = int(state["epochs"])
    return Report(numbers, {"embedding": lambda: embedding(model, params_of(state), batch)})

  return Experiment(
    init=init,
    stages=stages(config, model, tx, objective, data, init_params),
    params=params_of,
    evals=evals,
    report=report,
    export=lambda state: exported(model, params_of(state), graph, normalization=config.normalization),
  )


def optimizer(config: Any) -> optax.GradientTransformation:
  """Adam whose weight decay enters the gradient before it, as torch's `Adam(weight_decay=...)`.

  Raises:
    ValueError: `weight_decay_on` is no regular expression.
  """
  try:
    chosen = re.compile(config.weight_decay_on)
  except re.error as error:
    raise ValueError(f"config.weight_decay_on '{config.weight_decay_on}' is no regex: {error}") from error

  def decays(params):
    return jax.tree_util.tree_map_with_path(lambda path, _: bool(chosen.search(path_name(path))), params)

  decay = optax.add_decayed_weights(config.weight_decay, mask=decays)
  return optax.chain(decay, optax.adam(config.learning_rate))
