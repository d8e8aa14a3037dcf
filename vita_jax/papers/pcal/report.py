"""What a run reports of one seed: the audit of its representation, beside the adversaries of training."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from vita_jax.data import tabular
from vita_jax.papers.pcal import audit, baselines, scores, split, text
from vita_jax.papers.pcal.export import encode, released
from vita_jax.papers.pcal.game import Game
from vita_jax.papers.pcal.inputs import Task
from vita_jax.train.experiment import Report, State


def make_report(task: Task, config: Any, game: Game | None) -> Callable:
  """`report(state, evaluate) -> Report`; `game` is None for a baseline without training."""
  options = audit.Options(**config.audit)
  private = {
    attribute.name: audit.Private(_values(task, k), attribute.classes)
    for k, attribute in enumerate(task.attributes)
  }
  encoded = jax.jit(functools.partial(encode, game)) if game else None
  guess = jax.jit(lambda params, z: jax.nn.softmax(game.ensemble.apply(params, z))) if game else None

  def report(state: State, evaluate, sweep) -> Report:
    del evaluate  # an audit needs whole columns of the data, not sums over batches
    parts = split.host_parts(state["rows"], task.groups, split.parts(task.n_rows))
    given, in_training = {}, {}
    if game:
      outputs = encoded(released(state), numbers=task.numbers, codes=task.arrays["codes"])
      z, given["head of the encoder"] = (np.asarray(outputs[name]) for name in ("z", "probability"))
      if config.adversary.steps and "adversary" in state:
        guesses = np.asarray(guess(state["adversary"], z[parts["test"]]))
        in_training = _in_training(guesses, task, parts["test"])
    else:
      z = baseline(task, config, state, parts)
    target = audit.Target(task.arrays["target"], given)
    result = audit.audit(z, parts, private, target=target, options=options)
    title = f"Audit: {config.method}" + (f", gamma {config.gamma:g}" if config.method == "pcal" else "")
    title += f", variant {config.variant}"
    content = {**result, "in_training": in_training, "variant": config.variant, "method": config.method}
    files = {
      "audit.md": text.markdown(result, title=title, in_training=in_training),
      "audit.json": json.dumps(content, indent=1) + "\n",
    }
    figures = {"audit": lambda: text.figure(result, in_training=in_training)}
    return Report(numbers(result, in_training), figures, files)

  return report


def _values(task: Task, k: int) -> np.ndarray:
  values = task.arrays["private"][:, k]
  return values.astype(np.int32) if task.attributes[k].classes else values


def _in_training(guesses: np.ndarray, task: Task, test: np.ndarray) -> dict[str, float]:
  """Mean AUC on test rows of the adversaries as training left them, by attribute; guesses [M, K, n, C]."""
  found = {}
  for k, attribute in enumerate(task.attributes):
    if n := len(attribute.classes):
      labels = _values(task, k)[test]
      each = [scores.mean_auc(guesses[i, k, :, :n], labels) for i in range(len(guesses))]
      found[attribute.name] = float(np.mean([max(a, 1 - a) if n == 2 else a for a in each]))
  return found


def baseline(task: Task, config: Any, state: State, parts: dict[str, np.ndarray]) -> np.ndarray:
  """float32 [n, m]: the representation of a baseline, fitted on this seed's training rows.

  Raises:
    ValueError: a reference that needs one class attribute and was given others.
  """
  scaler = {name: np.asarray(value) for name, value in state["scaler"].items()}
  x = tabular.assemble(task.encoding._replace(**scaler), task.arrays["numbers"], task.arrays["codes"])
  draw = int(jax.random.randint(jax.random.fold_in(state["noise_key"], 1), (), 0, 2**31 - 1))
  if config.method in baselines.REFERENCES:
    found = baselines.utility_score(x, task.arrays["target"], parts["train"])
    if config.method == "score":
      return found
    if len(task.attributes) > 1 or not task.attributes[0].classes:
      raise ValueError("method 'equalised_score' takes one private attribute of classes")
    groups = len(parts) * _values(task, 0)
    for number, rows in enumerate(parts.values()):
      groups[rows] += number
    return baselines.equalised(found, groups, draw)
  train = parts["train"]
  rows = baselines.Training(
    x=x[train],
    private=task.arrays["private"][train],
    target=task.arrays["target"][train],
    n_classes=tuple(len(attribute.classes) for attribute in task.attributes),
    columns=_columns(task.encoding),
  )
  settings = baselines.Settings(config.strength, config.latent, draw)
  return np.asarray(baselines.BASELINES[config.method](rows, settings)(x), np.float32)


def _columns(encoding: tabular.Encoding) -> tuple[tuple[int, int, int], ...]:
  found, start = [], len(encoding.schema.numbers)
  for column, known in encoding.categories.items():
    width = sum(name.startswith(f"{column}=") for name in encoding.names)
    found.append((start, width, len(known)))
    start += width
  return tuple(found)


def numbers(result: dict[str, Any], in_training: dict[str, float]) -> dict[str, float]:
  """The metrics of a run, flat: utility, and per attribute what is found; `attack_auc` is the worst of them.

  Names that start with `validation_` are what models and settings may be chosen by.
  """
  best = result["utility"]["best"]
  found = {
    "utility_auc": best["auc"],
    "validation_utility_auc": best["validation"],
    **{f"utility_{k}": best[k] for k in ("accuracy", "majority_rate", "average_precision", "ks", "brier")},
    "utility_bad_rate_at_70": best["bad_rate_at_70"],
  }
  for model in result["utility"]["models"]:
    found[f"utility_auc_{_plain(model['name'])}"] = model["auc"]
  for name, one in result["private"].items():
    strongest, key = one["strongest"], one["metric"]
    end = f"_{name}"
    found[f"attack_{key}{end}"] = strongest[key]
    found[f"validation_attack_{key}{end}"] = strongest["validation"]
    found[f"largest_attack_{key}{end}"] = one["largest_test"]
    for family in dict.fromkeys(a["family"] for a in one["attackers"]):
      members = [a for a in one["attackers"] if a["family"] == family]
      found[f"attack_{key}_{_plain(family)}{end}"] = max(members, key=lambda a: a["validation"])[key]
    if one.get("score_alone") is not None:
      found[f"score_alone{end}"] = one["score_alone"]
    if key == "auc":
      for k in ("advantage", "balanced_accuracy", "majority_rate"):
        found[f"attack_{k}{end}"] = strongest[k]
      found[f"information_nats{end}"] = one["information"]["nats"]
      found |= {f"{k}{end}": v for k, v in one["fairness"].items()}
    if name in in_training:
      found[f"in_training_auc{end}"] = in_training[name]
  areas = {name: one for name, one in result["private"].items() if one["metric"] == "auc"}
  if areas:
    worst = max(areas, key=lambda name: areas[name]["strongest"]["validation"])
    found["attack_auc"] = areas[worst]["strongest"]["auc"]
    found["validation_attack_auc"] = areas[worst]["strongest"]["validation"]
    found["attack_auc_boosting"] = found[f"attack_auc_boosting_{worst}"]
    if worst in in_training:
      found["in_training_auc"] = in_training[worst]
  found["collapsed"] = float(result["collapsed"])
  return found


def _plain(name: str) -> str:
  return "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())
