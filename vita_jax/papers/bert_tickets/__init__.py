"""BERT tickets: The Lottery Ticket Hypothesis for Pre-trained BERT Networks (NeurIPS 2020, arXiv 2007.12223).

Claim: pre-trained BERT contains subnetworks of 40 to 90 % sparsity that, trained by themselves from the
pre-trained weights, reach the full model's accuracy; those found by masked-LM at 70 % transfer to other
tasks, those found on a downstream task mostly do not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vita_jax._lazy import submodules
from vita_jax.papers.bert_tickets.export import make_export
from vita_jax.papers.bert_tickets.model import read_start
from vita_jax.papers.bert_tickets.recipe import recipe_of
from vita_jax.papers.bert_tickets.report import make_report
from vita_jax.papers.bert_tickets.stages import make_stages
from vita_jax.papers.bert_tickets.tasks import Task, make_task
from vita_jax.train.experiment import Batch, Eval, Experiment, Metrics, State

__all__ = ["build"]

__getattr__, __dir__ = submodules(__name__)


def build(config: Any) -> Experiment:
  """Builds the experiment of a config: reads the model, reads and tokenises the texts, plans the trainings.

  Args:
    config: from `configs/bert_tickets/*.py`; its keys are explained in `papers/bert_tickets/recipe.py`.

  Raises:
    ValueError, FileNotFoundError: an unknown option, missing or unusable data or weights, a ticket of other
      weights.
  """
  recipe = recipe_of(config)
  start = read_start(recipe)
  task = make_task(recipe, start)
  fresh = functools.partial(_fresh, task.model)
  outputs = functools.partial(_outputs, task)
  return Experiment(
    init=functools.partial(_init, fresh),
    stages=make_stages(recipe, start, task, fresh=fresh, outputs=outputs),
    params=_params,
    evals={"dev": Eval(task.dev, functools.partial(_evaluate, task), recipe.eval_every)},
    report=functools.partial(make_report, recipe, task, outputs),
    export=functools.partial(make_export, recipe, start, task, fresh),
  )


def _fresh(model: Any, key: jax.Array) -> Any:
  return model.init(key, jnp.zeros((1, 8), jnp.int32))["params"]


def _init(fresh: Callable[[jax.Array], Any], key: jax.Array) -> State:
  return {"params": fresh(key), "key": key, "training": jnp.zeros((), jnp.int32)}


def _params(state: State) -> Any:
  return state["params"]


def _outputs(task: Task, state: State, batch: Batch) -> jax.Array:
  return task.outputs(state["params"], batch)


def _evaluate(task: Task, state: State, batch: Batch) -> Metrics:
  return task.loss(state["params"], batch, None)[1]
