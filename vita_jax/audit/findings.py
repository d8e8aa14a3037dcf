"""What the predictions of attackers say: the strongest, intervals, what the score alone gives away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vita_jax.audit import scores
from vita_jax.audit.attackers import Attacker
from vita_jax.audit.labels import Private, Target
from vita_jax.metrics import auc, bootstrap_interval, information, mean_auc, r_squared

Predictions = Sequence[np.ndarray]  # for validation rows and for test rows


def score_of(attribute: Private, predicted: np.ndarray, rows: np.ndarray) -> float:
  """Computes what a prediction for these rows is worth: AUC (mirrored below 0.5 for two classes), or R²."""
  labels = attribute.values[rows]
  return oriented_auc(predicted, labels) if attribute.classes else r_squared(predicted, labels)


def oriented_auc(probabilities: np.ndarray, labels: np.ndarray) -> float:
  """Computes `mean_auc`, mirrored below 0.5 for two classes."""
  area = mean_auc(probabilities, labels)
  return max(area, 1 - area) if probabilities.shape[1] == 2 else area


def attribute(
  found: Private, each: Sequence[tuple[Attacker, Predictions]], rows: Mapping[str, np.ndarray]
) -> dict[str, Any]:
  """Tells what the attackers found of one attribute; the strongest is chosen by validation rows.

  Args:
    found: the attribute.
    each: attackers with their predictions for validation and test rows.
    rows: the attackers' "validation" and "test" rows.
  """
  y_validation, y_test = (found.values[rows[part]] for part in ("validation", "test"))
  n_classes = len(found.classes)
  listed = []
  for attacker, (validation, test) in each:
    measured = scores.attack(test, y_test) if n_classes else {"r2": r_squared(test, y_test)}
    entry = {
      "name": attacker.name,
      "family": attacker.family,
      "validation": score_of(found, validation, rows["validation"]),
    }
    if n_classes:
      entry["validation_information"] = information(validation, y_validation)
    listed.append({**entry, **measured})
  key = "auc" if n_classes else "r2"
  best = max(range(len(listed)), key=lambda i: listed[i]["validation"])
  reason = scores.small(y_test, n_classes)
  test = each[best][1][1]
  interval = None
  if not reason:
    interval = _auc_interval(test, y_test) if n_classes else bootstrap_interval(r_squared, test, y_test)
  told: dict[str, Any] = {
    "classes": list(found.classes),
    "metric": key,
    "strongest": {**listed[best], "interval": interval, "no_interval": reason},
    "largest_test": max(entry[key] for entry in listed),
    "attackers": listed,
  }
  if n_classes:
    knowing = max(range(len(listed)), key=lambda i: listed[i]["validation_information"])
    bounds = None if reason else bootstrap_interval(information, each[knowing][1][1], y_test)
    nats = listed[knowing]["information"]
    told["information"] = {"name": listed[knowing]["name"], "nats": nats, "interval": bounds}
  return told


def utility(
  models: list[tuple[str, Predictions]], target: Target, rows: Mapping[str, np.ndarray]
) -> tuple[dict[str, Any], Predictions]:
  """Tells how well each model predicts the target; the best is chosen by its AUC on validation rows.

  Args:
    models: (name, scores [.] for validation and for test rows); those of `target.scores` are added.
    target: the label.
    rows: "validation" and "test" rows.

  Returns:
    The scores of all models and of the best; the predictions of the best.
  """
  given = [(k, [np.asarray(s)[rows[p]] for p in ("validation", "test")]) for k, s in target.scores.items()]
  models = [*models, *given]
  bad_validation, bad_test = (target.values[rows[part]] for part in ("validation", "test"))
  listed = [
    {"name": name, "validation": auc(validation, bad_validation == 1), **scores.utility(test, bad_test)}
    for name, (validation, test) in models
  ]
  best = max(range(len(listed)), key=lambda i: listed[i]["validation"])
  reason = scores.small(bad_test, 2)
  interval = None if reason else bootstrap_interval(auc, models[best][1][1], bad_test == 1)
  found = {"best": {**listed[best], "interval": interval, "no_interval": reason}, "models": listed}
  return found, models[best][1]


def of_score(
  score: Predictions, attribute: Private, target: Target, rows: Mapping[str, np.ndarray]
) -> dict[str, Any]:
  """Tells what the bare utility score gives away, and the gaps between classes if it decides."""
  test = rows["test"]
  found: dict[str, Any] = {"score_alone": _score_alone(score[1], attribute, test)}
  if attribute.classes:
    found["fairness"] = scores.fairness(score[1], target.values[test], attribute.values[test])
  return found


def _score_alone(score: np.ndarray, attribute: Private, rows: np.ndarray) -> float:
  labels = attribute.values[rows]
  if not attribute.classes:
    return float(np.corrcoef(score, labels)[0, 1] ** 2) if np.std(score) > 0 else 0.0
  each = [auc(score, labels == c) for c in range(len(attribute.classes)) if (labels == c).any()]
  return float(np.mean([max(a, 1 - a) for a in each]))


def _auc_interval(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
  low, high = bootstrap_interval(mean_auc, probabilities, labels)
  flipped = probabilities.shape[1] == 2 and mean_auc(probabilities, labels) < 0.5
  return (1 - high, 1 - low) if flipped else (low, high)
