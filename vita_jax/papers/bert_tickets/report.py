"""What a run reports: the scores of every ticket, and pictures of the scores and of the last mask."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vita_jax import compress
from vita_jax.papers.bert_tickets.recipe import Recipe
from vita_jax.papers.bert_tickets.tasks import Task
from vita_jax.report.charts import bars, lines
from vita_jax.train.experiment import Evaluate, Report, State, Sweep


def make_report(
  recipe: Recipe, task: Task, outputs: Callable, state: State, evaluate: Evaluate, sweep: Sweep
) -> Report:
  """Scores the development rows of every result of one seed; the main one goes under plain names, too.

  Args:
    recipe: of the run.
    task: of the run.
    outputs: `(state, batch) -> rows`, what `task.score` reads.
    state: after the last stage; `state["outputs"]` has the rows of all results but the last.
    evaluate: see `Experiment.report`.
    sweep: see `Experiment.report`.
  """
  del evaluate
  rows = {name: np.asarray(x) for name, x in state["outputs"].items()}
  rows[recipe.main_result] = sweep(outputs, state, over="dev")
  found = {name: task.score(x) for name, x in rows.items()}
  main = found[recipe.main_result]
  if recipe.masks_from == "none":
    return Report({**main, "truncated": task.truncated})
  numbers = {f"{name}_{metric}": v for name, scores in found.items() for metric, v in scores.items()}
  masks = compress.unpack(state["masks"], state["params"])
  numbers = {**main, **numbers, "truncated": task.truncated, "sparsity": compress.sparsity(masks)}
  drawn = {"layers": functools.partial(layers, masks)}
  if len(found) > 1:
    metric = next(iter(main))
    drawn["tickets"] = functools.partial(tickets, {n: s[metric] for n, s in found.items()}, metric)
  return Report(numbers, drawn)


def tickets(found: Mapping[str, float], metric: str) -> Any:
  """Draws a line for each start: `found` is {"<start>_<percent>": score}. Returns a matplotlib Figure."""
  points: dict[str, list[tuple[float, float]]] = {}
  for name, value in found.items():
    start, _, sparsity = name.rpartition("_")
    points.setdefault(start, []).append((float(sparsity), value))
  return lines(points, x="pruned weights, %", y=metric)


def layers(masks: compress.Masks) -> Any:
  """Draws a bar for each matrix: the share of its weights that is pruned. Returns a matplotlib Figure."""
  shares = compress.layer_sparsity(masks)
  short = {
    name.removeprefix("bert/").removeprefix("encoder/").removesuffix("/kernel"): 100 * share
    for name, share in shares.items()
  }
  return bars(short, x="pruned weights, %", limits=(0, 100))
