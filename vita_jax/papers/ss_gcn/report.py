"""The final numbers of a run, and a picture of what its encoder sees."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax

from vita_jax.papers.ss_gcn.steps import outputs_of
from vita_jax.report.embedding import embedding
from vita_jax.train.experiment import Evaluate, Report, State, Sweep

SPLITS = ("validation", "test")


def report(model: Any, labels: Any, splits: Any, state: State, evaluate: Evaluate, sweep: Sweep) -> Report:
  """Reports accuracy and loss by split, the epochs trained, and the hidden layer as a figure.

  Args:
    model: the host; with `labels` and `splits` it is given first, and the rest is `Experiment.report`.
    labels: int [N], -1 for nodes without one, which are not drawn.
    splits: those that have nodes: a graph may have no test nodes.
  """
  values = {split: evaluate(split, state) for split in splits}
  numbers = {f"{split}_{metric}": v for split, found in values.items() for metric, v in found.items()}
  numbers["epochs"] = int(state["epochs"])
  # Swept here, not when drawn: of several processes only one draws, and all must take part in a sweep.
  hidden = sweep(hidden_of(model), state, over="validation")
  return Report(numbers, {"embedding": functools.partial(embedding, hidden, labels)})


@functools.cache  # one function per model: a sweep compiles each function once
def hidden_of(model: Any) -> Any:
  """Returns `(state, batch) -> float [N, d]`: what the self-supervised head reads."""
  return functools.partial(_hidden, model)


def _hidden(model: Any, state: State, batch: Mapping[str, Any]) -> jax.Array:
  return outputs_of(model, state, batch)["hidden"]
