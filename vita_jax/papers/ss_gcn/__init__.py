"""SS-GCN: When Does Self-Supervision Help Graph Convolutional Networks? (ICML 2020, arXiv 2006.09136)

Claim: pseudo-labels computed from the graph itself (clusters of features, parts of the graph, features
to be completed from neighbours), learned by a second head on a shared encoder, improve semi-supervised
node classification; multi-task learning does it better than pre-training or self-training.
"""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp

from vita_jax._lazy import submodules
from vita_jax.data.resident import Resident
from vita_jax.papers.ss_gcn import protocol
from vita_jax.papers.ss_gcn.data import full_batch, read_graph, supervision_of
from vita_jax.papers.ss_gcn.export import make_export
from vita_jax.papers.ss_gcn.model import HOSTS
from vita_jax.papers.ss_gcn.recipe import KEYS, check, default_config, recipe_of, sized
from vita_jax.papers.ss_gcn.report import SPLITS, report
from vita_jax.papers.ss_gcn.stages import stages
from vita_jax.papers.ss_gcn.steps import final_params, test_step
from vita_jax.train.experiment import Eval, Experiment

__all__ = ["KEYS", "build", "check", "default_config"]

__getattr__, __dir__ = submodules(__name__)


def build(config: Any) -> Experiment:
  """Builds the experiment of a config: loads the graph, makes or fetches its self-supervised labels.

  Args:
    config: from `configs/ss_gcn/*.py`; `recipe.KEYS` explains every field.

  Raises:
    ValueError, FileNotFoundError, ImportError: an unknown option, missing or unusable data, no pymetis.
  """
  recipe = recipe_of(config)
  graph = read_graph(recipe)
  recipe = sized(recipe, n_nodes=len(graph.labels), n_classes=graph.n_classes)
  supervision = supervision_of(recipe, graph)
  if supervision:  # attacked graphs have as many outputs, whatever the rank of their features
    recipe = recipe._replace(n_outputs=supervision.n_outputs)
  batch = full_batch(recipe, graph, supervision)
  splits = [split for split in SPLITS if batch["graph"].nodes[split].any()]
  model = HOSTS[recipe.host](
    n_classes=graph.n_classes,
    n_ss_outputs=supervision.n_outputs if supervision else 0,
    hidden=recipe.hidden,
    dtype=jnp.dtype(recipe.dtype),
  )

  def init_params(key):
    return model.init(key, batch["features"], batch["adjacency"], "full", None)["params"]

  def init(key):
    params = init_params(key)
    start = protocol.start(recipe.protocol, params)
    return {"params": params, "tx": recipe.tx.init(params), "key": key, **start}

  data = Resident(batch)
  return Experiment(
    init=init,
    stages=stages(recipe, model, data, init_params, graph),
    params=final_params,
    evals={split: Eval(data, test_step(model, split), every=0) for split in splits},
    report=functools.partial(report, model, graph.labels, splits),
    export=lambda state: make_export(
      model, final_params(state), graph, normalization=recipe.normalization, defence=recipe.defence
    ),
  )
