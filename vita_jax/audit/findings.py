"""What the predictions of attackers say: the strongest, the worst class, intervals, what a score gives away.

Everything is chosen on validation rows, also which way round a score of two classes is read, and told of
test rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vita_jax.audit import scores
from vita_jax.audit.attackers import Attacker, Rows, linear_attacker, run_one
from vita_jax.audit.labels import Private, Target
from vita_jax.audit.questions import Question
from vita_jax.metrics import auc, bootstrap_interval, information, mean_auc, one_vs_rest_auc, r_squared

Predictions = Sequence[np.ndarray]  # for validation rows and for test rows
Each = Sequence[tuple[Attacker, Predictions]]
UTILITY_SCORE = "utility score"


def answer(
  question: Question, each: Each, rows: Mapping[str, np.ndarray], *, records: np.ndarray | None = None
) -> dict[str, Any]:
  """Tells what the attackers found; the strongest is chosen by validation rows.

  Args:
    each: attackers with their predictions for validation and test rows.
    rows: the attackers' "validation" and "test" rows.
    records: int, of all rows; intervals draw records, not rows. None: every row is one of its own.
  """
  validation, test = (question.labels[rows[part]] for part in ("validation", "test"))
  whose = rows["test"] if records is None else records[rows["test"]]
  return (_of_classes if question.classes else _of_values)(question, each, validation, test, whose)


def score_of(question: Question, predictions: Predictions, rows: Mapping[str, np.ndarray]) -> float:
  """Computes the test score of one attacker: AUC, read the way round that validation rows say, or R²."""
  validation, test = (question.labels[rows[part]] for part in ("validation", "test"))
  if not question.classes:
    return r_squared(predictions[1], test)
  return mean_auc(_oriented(predictions, validation)[1], test)


def _oriented(predictions: Predictions, validation: np.ndarray) -> Predictions:
  """Exchanges two classes where that is right more often on validation rows: to be wrong is to know."""
  if predictions[0].shape[1] == 2 and mean_auc(predictions[0], validation) < 0.5:
    return [p[:, ::-1] for p in predictions]
  return predictions


def _interval(
  score: Callable[..., Any], predicted: np.ndarray, labels: np.ndarray, n_classes: int, whose: np.ndarray
) -> dict[str, Any]:
  """Computes the `interval` of a test score over records `whose`, or None with the reason: `no_interval`."""
  reason = scores.small(labels, n_classes, whose)
  found = None if reason else bootstrap_interval(score, predicted, labels, groups=whose)
  return {"interval": found, "no_interval": reason}


def _of_values(
  question: Question, each: Each, validation: np.ndarray, test: np.ndarray, whose: np.ndarray
) -> dict[str, Any]:
  listed = [
    {
      "name": attacker.name,
      "family": attacker.family,
      "validation": r_squared(guesses[0], validation),
      "r2": r_squared(guesses[1], test),
    }
    for attacker, guesses in each
  ]
  best = _first_largest([entry["validation"] for entry in listed])
  return {
    "classes": [],
    "metric": "r2",
    "strongest": {**listed[best], **_interval(r_squared, each[best][1][1], test, 0, whose)},
    "largest_test": max(entry["r2"] for entry in listed),
    "attackers": listed,
  }


def _of_classes(
  question: Question, each: Each, validation: np.ndarray, test: np.ndarray, whose: np.ndarray
) -> dict[str, Any]:
  oriented = [_oriented(guesses, validation) for _, guesses in each]
  listed = [
    {
      "name": attacker.name,
      "family": attacker.family,
      "validation": mean_auc(guesses[0], validation),
      "validation_information": information(guesses[0], validation),
      **scores.attack(guesses[1], test),
    }
    for (attacker, _), guesses in zip(each, oriented, strict=True)
  ]
  best = _first_largest([entry["validation"] for entry in listed])
  knowing = _first_largest([entry["validation_information"] for entry in listed])
  n_classes = len(question.classes)
  interval = _interval(mean_auc, oriented[best][1], test, n_classes, whose)
  found = {
    "classes": list(question.classes),
    "metric": "auc",
    "strongest": {**listed[best], **interval},
    "largest_test": max(entry["auc"] for entry in listed),
    "attackers": listed,
    "information": {
      "name": listed[knowing]["name"],
      "nats": listed[knowing]["information"],
      "interval": _interval(information, oriented[knowing][1], test, n_classes, whose)["interval"],
    },
  }
  if len(question.classes) == 2:
    worst = {"class": "", **{k: found["strongest"][k] for k in ("name", "validation", "auc")}}
    found["worst_class"] = {**worst, **interval}
  else:
    found["each_class"], found["worst_class"] = _one_by_one(question, each, validation, test, whose)
  return found


def _one_by_one(
  question: Question, each: Each, validation: np.ndarray, test: np.ndarray, whose: np.ndarray
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
  """Tells every class from the others by the attacker that does it best, and the class worst off."""
  areas = np.array([one_vs_rest_auc(guesses[0], validation) for _, guesses in each])
  areas = np.nan_to_num(areas, nan=0.5)
  found, certain = [], []
  for c, name in enumerate(question.classes):
    i = _first_largest(np.maximum(areas[:, c], 1 - areas[:, c]))
    guess = each[i][1][1][:, c] * (1 if areas[i, c] >= 0.5 else -1)
    inside, n = int((validation == c).sum()), len(validation)
    # Of a rare class, some attacker's area is large by chance: less of it counts in the choice.
    error = np.sqrt((n + 1) / (12 * max(inside, 1) * max(n - inside, 1)))
    certain.append(abs(areas[i, c] - 0.5) - error)
    area = auc(guess, test == c)
    entry = {"class": name, "name": each[i][0].name, "validation": max(areas[i, c], 1 - areas[i, c])}
    found.append({**entry, "auc": None if np.isnan(area) else area, "guess": guess})
  c = _first_largest(certain)
  interval = _interval(auc, found[c]["guess"], test == c, 2, whose)
  listed = [{k: v for k, v in entry.items() if k != "guess"} for entry in found]
  return listed, {**listed[c], **interval}


def utility(
  models: Sequence[tuple[str, Predictions]],
  target: Target,
  rows: Mapping[str, np.ndarray],
  *,
  records: np.ndarray | None = None,
) -> tuple[dict[str, Any], np.ndarray]:
  """Tells how well each model predicts the target; the best is chosen by its AUC on validation rows.

  Args:
    models: (name, scores [.] for validation and for test rows); those of `target.scores` are added.
    target: the label.
    rows: "validation" and "test" rows.
    records: as in `answer`.

  Returns:
    The scores of all models and of the best; the score of the best, float64 [n], NaN for training rows.
  """
  given = [(k, [np.asarray(s)[rows[p]] for p in ("validation", "test")]) for k, s in target.scores.items()]
  models = [*models, *given]
  bad_validation, bad_test = (target.values[rows[part]] for part in ("validation", "test"))
  listed = [
    {"name": name, "validation": auc(validation, bad_validation == 1), **scores.utility(test, bad_test)}
    for name, (validation, test) in models
  ]
  best = _first_largest([entry["validation"] for entry in listed])
  whose = rows["test"] if records is None else records[rows["test"]]
  interval = _interval(auc, models[best][1][1], bad_test == 1, 2, whose)
  score = np.full(len(target.values), np.nan)
  score[rows["validation"]], score[rows["test"]] = models[best][1]
  return {"best": {**listed[best], **interval}, "models": listed}, score


def score_attacker(
  score: np.ndarray, question: Question, rows: Mapping[str, np.ndarray]
) -> tuple[Attacker, Predictions]:
  """Makes an attacker of the bare utility score: whatever keeps the score gives away what it finds.

  A linear model of one input reads the score; its two numbers are fitted on validation rows, since scores
  of rows that the score was trained on are not like others.

  Args:
    score: float [n], often a probability; validation and test rows are read.
  """
  validation, test = rows["validation"], rows["test"]
  if np.all((score[validation] >= 0) & (score[validation] <= 1)):
    score = np.clip(score, 1e-6, 1 - 1e-6)
    score = np.log(score / (1 - score))
  x = score[:, None]
  labels = question.labels[validation]
  attacker = linear_attacker(UTILITY_SCORE, len(question.classes))
  known = Rows(x[validation], labels, x[validation], labels, x[test])
  return attacker, run_one(attacker, known, len(question.classes))


def fairness(
  score: np.ndarray, attribute: Private, target: Target, rows: Mapping[str, np.ndarray]
) -> dict[str, float]:
  """Computes the gaps between classes if the score decides; see `scores.fairness`."""
  test = rows["test"]
  return scores.fairness(score[test], target.values[test], attribute.values[test])


def _first_largest(values: Sequence[float]) -> int:
  return max(range(len(values)), key=lambda i: values[i])
