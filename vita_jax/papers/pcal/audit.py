"""The audit of a representation, from anywhere: what new attackers find in it, and what it is good for.

Attackers are trained on rows of their own, chosen on validation rows, and reported on test rows that neither
they nor the encoder have seen. The result is an empirical bound over the attackers tried: it is no
differential privacy, no guarantee against others, and says nothing of membership.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vita_jax.base.choose import choose
from vita_jax.papers.pcal import scores
from vita_jax.papers.pcal.attackers import KINDS, Rows, attackers, run_all
from vita_jax.papers.pcal.inputs import check_label

SHARES = (0.01, 0.1)  # of the attackers' labels, for the strongest attacker with fewer
LEAST_LABELS = 20
SPLITS = ("train", "disjoint")
COLLAPSED = 1e-6  # largest standard deviation of a representation that carries nothing
USELESS = 0.55  # utility AUC


class Private(NamedTuple):
  """A private attribute of every row: int class numbers [n], or float values [n] and `classes` ()."""

  values: np.ndarray
  classes: tuple[str, ...]


class Options(NamedTuple):
  """Which attackers, on which rows. `attacker_split`: "train" takes the encoder's own training rows (what an
  insider has), "disjoint" cuts the validation rows in two (what an outsider with other people's data has).
  `attacker_rows`, `test_rows`: at most so many, 0: all. `n_jobs`: processes, 0: one a core."""

  attackers: str = "all"
  attacker_split: str = "train"
  attacker_rows: int = 0
  test_rows: int = 0
  n_jobs: int = 0


class Target(NamedTuple):
  """The utility label int [n] (1: bad), and scores [n] of models that came with the representation."""

  values: np.ndarray
  scores: Mapping[str, np.ndarray] = {}


def audit(
  z: np.ndarray,
  parts: Mapping[str, np.ndarray],
  private: Mapping[str, Private],
  *,
  target: Target | None = None,
  options: Options | None = None,
) -> dict[str, Any]:
  """Audits a representation.

  Args:
    z: float [n, m], every row of the data.
    parts: "train", "validation", "test": row numbers, disjoint.
    private: the attributes to look for, by name.
    target: what the representation should still tell; None leaves utility out.
    options: see `Options`.

  Returns:
    Plain data: `rows`, `width`, `collapsed`, `private` by name (every attacker, the strongest on validation
    rows, its interval, the largest test score, what fewer labels and the bare utility score give), `utility`.
    `collapsed`: nothing varies, or the target can no longer be told (AUC under 0.55): no privacy to boast of.

  Raises:
    ValueError: parts that overlap, values that are not finite, labels that no attacker could learn.
  """
  options = options or Options()
  choose("audit.attackers", options.attackers, KINDS)
  choose("audit.attacker_split", options.attacker_split, SPLITS)
  z = np.asarray(z, np.float32)
  if z.ndim != 2 or not np.isfinite(z).all():
    raise ValueError(f"a representation has to be a finite matrix, found shape {z.shape}")
  _check_disjoint(parts)
  attack_rows, utility_rows = attacker_parts(parts, options), dict(parts)
  result: dict[str, Any] = {
    "rows": {
      f"{who}_{k}": len(v)
      for who, p in (("attacker", attack_rows), ("utility", utility_rows))
      for k, v in p.items()
    },
    "width": z.shape[1],
    "collapsed": bool(z[parts["train"]].std(0).max() < COLLAPSED),
    "options": options._asdict(),
  }
  jobs, places = [], []
  for name, attribute in private.items():
    check_label(name, attribute.classes, attribute.values, target=target and target.values)
    _check_parts(name, attribute, attack_rows)
    rows, n_classes = _rows(z, attribute.values, attack_rows), len(attribute.classes)
    for attacker in attackers(options.attackers, n_classes=n_classes, width=z.shape[1], n_rows=len(rows.z)):
      places.append((name, attacker))
      jobs.append((attacker, rows, n_classes))
  if target is not None:
    _check_parts("target", Private(target.values, ("0", "1")), utility_rows)
    rows = _rows(z, target.values.astype(np.int32), utility_rows)
    for attacker in attackers("fast", n_classes=2, width=z.shape[1], n_rows=len(rows.z)):
      if attacker.family in ("logistic", "boosting"):
        places.append((None, attacker))
        jobs.append((attacker, rows, 2))
  order = sorted(range(len(jobs)), key=lambda i: -jobs[i][0].cost)
  outputs = dict(zip(order, run_all([jobs[i] for i in order], n_jobs=options.n_jobs), strict=True))
  found = [(places[i], outputs[i]) for i in range(len(jobs))]
  score = None
  if target is not None:
    models = [(a.name, [p[:, 1] for p in out]) for (name, a), out in found if name is None]
    given = [
      (k, [np.asarray(s)[utility_rows[p]] for p in ("validation", "test")]) for k, s in target.scores.items()
    ]
    result["utility"], score = _utility(models + given, target.values, utility_rows)
  result["private"] = {}
  for name, attribute in private.items():
    each = [(a, out) for (n, a), out in found if n == name]
    result["private"][name] = _attribute(attribute, each, attack_rows)
  _fewer_labels(result, z, private, attack_rows, options)
  if target is not None:
    for name, attribute in private.items():
      result["private"][name]["score_alone"] = _score_alone(score, attribute, utility_rows)
      if attribute.classes:
        labels = attribute.values[utility_rows["test"]]
        bad = target.values[utility_rows["test"]]
        result["private"][name]["fairness"] = scores.fairness(score[1], bad, labels)
    result["collapsed"] |= result["utility"]["best"]["auc"] < USELESS
  return result


def attacker_parts(parts: Mapping[str, np.ndarray], options: Options) -> dict[str, np.ndarray]:
  """The attackers' "train", "validation" and "test" rows: always disjoint, a random subset where limited."""
  generator = np.random.default_rng(0)
  shuffled = {name: generator.permutation(rows) for name, rows in parts.items()}
  learn, choosing = shuffled["train"], shuffled["validation"]
  if options.attacker_split == "disjoint":
    half = len(choosing) // 2
    learn, choosing = choosing[:half], choosing[half:]
  limit = lambda rows, n: rows[:n] if n else rows  # noqa: E731
  few = options.attacker_rows and max(options.attacker_rows // 2, 1)
  return {
    "train": limit(learn, options.attacker_rows),
    "validation": limit(choosing, few),
    "test": limit(shuffled["test"], options.test_rows),
  }


def _check_disjoint(parts: Mapping[str, np.ndarray]) -> None:
  rows = np.concatenate([parts[name] for name in ("train", "validation", "test")])
  if any(len(parts[name]) == 0 for name in ("train", "validation", "test")):
    raise ValueError("an audit needs training, validation and test rows: give more rows")
  if len(np.unique(rows)) != len(rows):
    raise ValueError(
      "a row is in two of train, validation and test: attackers would be scored on rows they know"
    )


def _check_parts(name: str, attribute: Private, rows: Mapping[str, np.ndarray]) -> None:
  """Refuses parts in which a label has one class or value; training rows have to have two of each class."""
  for part, chosen in rows.items():
    values, n_classes = attribute.values[chosen], len(attribute.classes)
    counts = (
      np.bincount(values, minlength=n_classes) if n_classes else np.unique(values, return_counts=True)[1]
    )
    if (counts > 0).sum() < 2:
      raise ValueError(f"'{name}' has one class only among the {part} rows: give more rows")
    if part == "train" and n_classes and (counts.min() < 2 or len(chosen) < 10 * n_classes):
      raise ValueError(
        f"'{name}' has {counts.min()} of {len(chosen)} training rows in its rarest class, too few to learn"
        " from: give more rows, or merge classes"
      )


def _rows(z: np.ndarray, y: np.ndarray, parts: Mapping[str, np.ndarray]) -> Rows:
  train, validation, test = (parts[name] for name in ("train", "validation", "test"))
  return Rows(z[train], y[train], z[validation], y[validation], z[test])


def _oriented(probabilities: np.ndarray, labels: np.ndarray) -> float:
  area = scores.mean_auc(probabilities, labels)
  return max(area, 1 - area) if probabilities.shape[1] == 2 else area


def _attribute(attribute: Private, each: list, rows: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Every attacker's scores; the strongest by validation rows; intervals where they are valid."""
  y_validation, y_test = (attribute.values[rows[part]] for part in ("validation", "test"))
  n_classes = len(attribute.classes)
  metric = _oriented if n_classes else scores.r_squared
  listed = []
  for attacker, (validation, test) in each:
    measured = scores.attack(test, y_test) if n_classes else {"r2": metric(test, y_test)}
    entry = {"name": attacker.name, "family": attacker.family, "validation": metric(validation, y_validation)}
    if n_classes:
      entry["validation_information"] = scores.information(validation, y_validation)
    listed.append({**entry, **measured})
  key = "auc" if n_classes else "r2"
  best = max(range(len(listed)), key=lambda i: listed[i]["validation"])
  reason = scores.small(y_test, n_classes)
  found: dict[str, Any] = {
    "classes": list(attribute.classes),
    "metric": key,
    "strongest": {**listed[best], "interval": None, "no_interval": reason},
    "largest_test": max(entry[key] for entry in listed),
    "attackers": listed,
  }
  if n_classes:
    knowing = max(range(len(listed)), key=lambda i: listed[i]["validation_information"])
    found["information"] = {
      "name": listed[knowing]["name"],
      "nats": listed[knowing]["information"],
      "interval": None,
    }
  if not reason:
    test = each[best][1][1]
    if n_classes:
      found["strongest"]["interval"] = _auc_interval(test, y_test)
      found["information"]["interval"] = scores.interval(scores.information, each[knowing][1][1], y_test)
    else:
      found["strongest"]["interval"] = scores.interval(scores.r_squared, test, y_test)
  return found


def _auc_interval(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
  low, high = scores.interval(scores.mean_auc, probabilities, labels)
  flipped = probabilities.shape[1] == 2 and scores.mean_auc(probabilities, labels) < 0.5
  return (1 - high, 1 - low) if flipped else (low, high)


def _fewer_labels(result, z, private, rows, options: Options) -> None:
  """Adds `few_labels`: the strongest attacker again with 1 and 10 percent of the labels; None: too few."""
  jobs, places = [], []
  for name, attribute in private.items():
    found, n_classes = result["private"][name], len(attribute.classes)
    found["few_labels"] = {}
    for share in SHARES:
      chosen = rows["train"][: round(share * len(rows["train"]))]
      counts = np.bincount(attribute.values[chosen], minlength=n_classes) if n_classes else [len(chosen)]
      choices = attackers(options.attackers, n_classes=n_classes, width=z.shape[1], n_rows=len(chosen))
      same = [a for a in choices if a.name == found["strongest"]["name"]]  # kNN: not with so few rows
      found["few_labels"][f"{share:g}"] = None
      if same and len(chosen) >= LEAST_LABELS and min(counts) >= scores.LEAST_OF_A_CLASS:
        jobs.append((same[0], _rows(z, attribute.values, {**rows, "train": chosen}), n_classes))
        places.append((name, f"{share:g}"))
  outputs = run_all(jobs, n_jobs=options.n_jobs) if jobs else []
  for (name, share), (_, test) in zip(places, outputs, strict=True):
    labels = private[name].values[rows["test"]]
    metric = _oriented if private[name].classes else scores.r_squared
    result["private"][name]["few_labels"][share] = metric(test, labels)


def _utility(models: list, values: np.ndarray, rows: Mapping[str, np.ndarray]) -> tuple[dict, tuple]:
  """Scores of each model; the best is chosen on validation rows, where its AUC is what counts."""
  bad_validation, bad_test = (values[rows[part]] for part in ("validation", "test"))
  listed = [
    {"name": name, "validation": scores.auc(v, bad_validation == 1), **scores.utility(t, bad_test)}
    for name, (v, t) in models
  ]
  best = max(range(len(listed)), key=lambda i: listed[i]["validation"])
  reason = scores.small(bad_test, 2)
  interval = None
  if not reason:
    area = lambda s, y, w: scores.auc(s, y == 1, w)  # noqa: E731
    interval = scores.interval(area, models[best][1][1], bad_test)
  found = {"best": {**listed[best], "interval": interval, "no_interval": reason}, "models": listed}
  return found, models[best][1]


def _score_alone(score: tuple, attribute: Private, rows: Mapping[str, np.ndarray]) -> float | None:
  """What the bare utility score tells of the attribute: whatever keeps the score cannot hide that."""
  labels = attribute.values[rows["test"]]
  if not attribute.classes:
    return float(np.corrcoef(score[1], labels)[0, 1] ** 2) if np.std(score[1]) > 0 else 0.0
  each = [scores.auc(score[1], labels == c) for c in range(len(attribute.classes)) if (labels == c).any()]
  return float(np.mean([max(a, 1 - a) for a in each]))
