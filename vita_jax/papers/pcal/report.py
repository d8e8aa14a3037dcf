"""What a run reports of one seed: the audit of its representation, beside the adversaries of training."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.audit import baselines, labels, protocol, summary, text
from vita_jax.audit.findings import score_of
from vita_jax.audit.questions import Question
from vita_jax.data import tabular
from vita_jax.data.splits import cut_rows, part_sizes
from vita_jax.papers.pcal.data import Task
from vita_jax.papers.pcal.export import encode, final_params
from vita_jax.papers.pcal.game import Game
from vita_jax.papers.pcal.recipe import Recipe
from vita_jax.train.experiment import Batch, Evaluate, Report, State, Sweep

EVAL = "validation"  # its data are the arrays of all rows


def report(
  task: Task, recipe: Recipe, encoded: Any, state: State, evaluate: Evaluate, sweep: Sweep
) -> Report:
  """Audits the representation of one seed.

  Args:
    encoded: `encode_all` of the game, or None for a baseline that is only fitted. One function for all
      seeds, so that they share one compiled program.
  """
  del evaluate  # an audit needs whole columns of the data, not sums over batches
  parts = cut_rows(state["rows"], task.groups, part_sizes(task.n_rows))
  given, in_training = {}, {}
  if encoded:
    outputs = sweep(encoded, state, over=EVAL)
    z, given["head of the encoder"] = outputs["z"], outputs["probability"]
    if "guesses" in outputs:
      in_training = _in_training(outputs["guesses"], task, parts)
  else:
    z = baseline(task, recipe, state, parts)
  found = protocol.audit(
    z,
    private={x.name: labels.Private(task.labels[x.name], x.classes) for x in task.attributes},
    target=labels.Target(task.arrays["target"], given),
    parts=parts,
    groups=task.groups if recipe.grouped else None,
    options=recipe.audit,
  )
  content = {**found, "in_training": in_training, "variant": recipe.variant, "method": recipe.method}
  files = {
    "audit.md": text.markdown(found, title=_title(recipe), in_training=in_training),
    "audit.json": json.dumps(content, indent=1) + "\n",
  }
  figure = functools.partial(text.figure, found, in_training=in_training)
  return Report(summary.numbers(found, in_training=in_training), {"audit": figure}, files)


def encode_all(game: Game, state: State, batch: Batch) -> dict[str, jax.Array]:
  """Encodes rows as the export does: `z`, `probability`, and `guesses` [n, M, K, C] of adversaries."""
  outputs = encode(game, final_params(state), numbers=batch["raw"], codes=batch["codes"])
  if game.recipe.adversary_steps and "adversary" in state:
    guesses = jax.nn.softmax(game.ensemble.apply(state["adversary"], outputs["z"]))
    outputs["guesses"] = jnp.moveaxis(guesses, 2, 0)
  return outputs


def _title(recipe: Recipe) -> str:
  gamma = f", gamma {recipe.gamma:g}" if recipe.method == "pcal" else ""
  return f"Audit: {recipe.method}{gamma}, variant {recipe.variant}"


def _in_training(guesses: np.ndarray, task: Task, parts: Mapping[str, np.ndarray]) -> dict[str, float]:
  """Mean AUC on test rows of the adversaries as training left them, by attribute; guesses [n, M, K, C].

  Adversaries that are wrong more often than right on validation rows are read the other way round.
  """
  found = {}
  for k, attribute in enumerate(task.attributes):
    if n := len(attribute.classes):
      question = Question("classes", task.labels[attribute.name], attribute.classes)
      each = (guesses[:, i, k, :n] for i in range(guesses.shape[1]))
      areas = [score_of(question, (x[parts["validation"]], x[parts["test"]]), parts) for x in each]
      found[attribute.name] = float(np.mean(areas))
  return found


def baseline(task: Task, recipe: Recipe, state: State, parts: Mapping[str, np.ndarray]) -> np.ndarray:
  """Fits a baseline on this seed's training rows; returns its representation of all, float32 [n, m].

  Raises:
    ValueError: a reference that needs one class attribute and was given others.
  """
  encoding = tabular.scaled_by(task.encoding, jax.device_get(state["scaler"]))
  x = tabular.assemble(encoding, task.arrays["numbers"], task.arrays["codes"])
  draw = int(jax.random.randint(jax.random.fold_in(state["noise_key"], 1), (), 0, 2**31 - 1))
  if recipe.method in baselines.REFERENCES:
    found = baselines.utility_score(x, task.arrays["target"], parts["train"])
    return found if recipe.method == "score" else _equalised(found, task, parts, draw)
  train = parts["train"]
  rows = baselines.Training(
    x=x[train],
    private=task.arrays["private"][train],
    target=task.arrays["target"][train],
    n_classes=task.n_classes,
    columns=_columns(task.encoding),
  )
  settings = baselines.Settings(recipe.strength, recipe.latent, draw)
  return np.asarray(baselines.BASELINES[recipe.method](rows, settings)(x), np.float32)


def _equalised(score: np.ndarray, task: Task, parts: Mapping[str, np.ndarray], draw: int) -> np.ndarray:
  if len(task.attributes) > 1 or not task.attributes[0].classes:
    raise ValueError("method 'equalised_score' takes one private attribute of classes")
  groups = len(parts) * task.labels[task.attributes[0].name]
  for number, rows in enumerate(parts.values()):
    groups[rows] += number
  return baselines.equalised(score, groups, draw)


def _columns(encoding: tabular.Encoding) -> tuple[tuple[int, int, int], ...]:
  """(start, width, categories) of each categorical column among the features."""
  found, start = [], len(encoding.schema.numbers)
  for column, known in encoding.categories.items():
    width = sum(name.startswith(f"{column}=") for name in encoding.names)
    found.append((start, width, len(known)))
    start += width
  return tuple(found)
