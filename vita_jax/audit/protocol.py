"""The audit of a representation, from anywhere: what new attackers find in it, and what it is good for.

Attackers are trained on rows of their own, chosen on validation rows, and reported on test rows that neither
they nor the encoder have seen. The result is an empirical bound over the attackers tried: it is no
differential privacy, no guarantee against others, and says nothing of membership.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vita_jax.audit import findings
from vita_jax.audit.attackers import KINDS, Attacker, Rows, attackers, run_all
from vita_jax.audit.labels import Private, Target, as_private, as_target, check_label
from vita_jax.audit.scores import LEAST_OF_A_CLASS
from vita_jax.base.choose import choose
from vita_jax.data.splits import draw_split

PARTS = ("train", "validation", "test")
SHARES = (0.01, 0.1)  # of the attackers' labels, for the strongest attacker with fewer
LEAST_LABELS = 20
SPLITS = ("train", "disjoint")
COLLAPSED = 1e-6  # largest standard deviation of a representation that carries nothing
USELESS = 0.55  # utility AUC


class Options(NamedTuple):
  """Which attackers, on which rows.

  Attributes:
    attackers: "all" or "fast" (logistic, boosting, neighbours, MLP).
    attacker_split: "train" takes the encoder's own training rows (what an insider has), "disjoint" cuts the
      validation rows in two (what an outsider with other people's data has).
    attacker_rows, test_rows: at most so many; 0: all.
    n_jobs: processes; 0: one per core.
  """

  attackers: str = "all"
  attacker_split: str = "train"
  attacker_rows: int = 0
  test_rows: int = 0
  n_jobs: int = 0


class Job(NamedTuple):
  """An attacker to train: `finds` is the private attribute, None for a model of the target."""

  finds: str | None
  attacker: Attacker
  rows: Rows
  n_classes: int


def audit(
  z: np.ndarray,
  *,
  private: Mapping[str, Any],
  target: Any = None,
  parts: Mapping[str, np.ndarray] | None = None,
  options: Options | None = None,
  seed: int = 0,
) -> dict[str, Any]:
  """Audits a representation.

  Args:
    z: float [n, m], every row of the data.
    private: the attributes to look for: name -> column [n] (see `as_private`) or `Private`.
    target: what the representation should still tell: a column [n] of two values (the greater one is 1, the
      bad one), or a `Target`. None leaves utility out.
    parts: "train", "validation" and "test": row numbers, disjoint. If rows trained the encoder, give its own
      split. None: drawn, 60 / 20 / 20 percent, stratified on all labels.
    options: see `Options`.
    seed: of the split that is drawn.

  Returns:
    Plain data: `rows`, `width`, `collapsed`, `private` by name (every attacker, the strongest on validation
    rows, its interval, the largest test score, what fewer labels and the bare utility score give), `utility`.
    `collapsed`: nothing varies, or the target can no longer be told (AUC under 0.55): no privacy to boast of.

  Raises:
    ValueError: parts that overlap, values that are not finite, labels that no attacker could learn.

  Example:
    >>> rng = np.random.default_rng(0)
    >>> sex = rng.integers(0, 2, 500)
    >>> z = np.stack([sex + 0.1 * rng.normal(size=500), rng.normal(size=500)], axis=1)
    >>> found = audit(z, private={"sex": sex}, options=Options("fast", n_jobs=1))
    >>> found["private"]["sex"]["strongest"]["auc"] > 0.99
    True
  """
  options = options or Options()
  choose("audit.attackers", options.attackers, KINDS)
  choose("audit.attacker_split", options.attacker_split, SPLITS)
  z = _matrix(z)
  labels = {name: as_private(name, column) for name, column in private.items()}
  goal = None if target is None else as_target(target)
  _check_labels(labels, goal, len(z))
  if parts is None:
    strata = [x.values for x in labels.values() if x.classes] + ([goal.values] if goal else [])
    parts = draw_split(len(z), strata=strata, seed=seed)
  _check_disjoint(parts)
  rows = attacker_parts(parts, options)
  jobs = [job for name, x in labels.items() for job in _attribute_jobs(name, x, z, rows, options)]
  if goal:
    jobs += _utility_jobs(goal, z, parts)
  outputs = _run(jobs, options)
  result: dict[str, Any] = {
    "rows": _counts(rows, parts),
    "width": z.shape[1],
    "collapsed": bool(z[parts["train"]].std(0).max() < COLLAPSED),
    "options": options._asdict(),
  }
  score = None
  if goal:
    models = [(job.attacker.name, [p[:, 1] for p in out]) for job, out in outputs if job.finds is None]
    result["utility"], score = findings.utility(models, goal, parts)
    result["collapsed"] |= result["utility"]["best"]["auc"] < USELESS
  result["private"] = {}
  for name, attribute in labels.items():
    each = [(job.attacker, out) for job, out in outputs if job.finds == name]
    result["private"][name] = findings.attribute(attribute, each, rows)
  _add_fewer_labels(result["private"], z, labels, rows, options)
  if goal:
    for name, attribute in labels.items():
      result["private"][name] |= findings.of_score(score, attribute, goal, parts)
  return result


def attacker_parts(parts: Mapping[str, np.ndarray], options: Options) -> dict[str, np.ndarray]:
  """Returns the attackers' "train", "validation" and "test" rows, disjoint, a random subset where limited."""
  generator = np.random.default_rng(0)
  shuffled = {name: generator.permutation(rows) for name, rows in parts.items()}
  learn, choosing = shuffled["train"], shuffled["validation"]
  if options.attacker_split == "disjoint":
    half = len(choosing) // 2
    learn, choosing = choosing[:half], choosing[half:]
  few = options.attacker_rows and max(options.attacker_rows // 2, 1)
  return {
    "train": learn[: options.attacker_rows or None],
    "validation": choosing[: few or None],
    "test": shuffled["test"][: options.test_rows or None],
  }


def _matrix(z: Any) -> np.ndarray:
  z = np.asarray(z, np.float32)
  if z.ndim != 2 or not np.isfinite(z).all():
    raise ValueError(f"a representation must be a finite matrix [rows, width], found the shape {z.shape}")
  return z


def _check_labels(labels: Mapping[str, Private], goal: Target | None, n_rows: int) -> None:
  columns = {name: x.values for name, x in labels.items()} | ({"target": goal.values} if goal else {})
  for name, values in columns.items():
    if len(values) != n_rows:
      raise ValueError(f"'{name}' has {len(values)} rows, the representation {n_rows}: they must match")
  for name, x in labels.items():
    check_label(name, x.classes, x.values, target=goal and goal.values)


def _check_disjoint(parts: Mapping[str, np.ndarray]) -> None:
  rows = np.concatenate([parts[name] for name in PARTS])
  if any(len(parts[name]) == 0 for name in PARTS):
    raise ValueError("an audit needs training, validation and test rows: give more rows")
  if len(np.unique(rows)) != len(rows):
    raise ValueError(
      "a row is in two of train, validation and test: attackers would be scored on rows they know"
    )


def _check_parts(name: str, attribute: Private, rows: Mapping[str, np.ndarray]) -> None:
  """Refuses parts in which a label has one class or value; training rows need two of each class."""
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


def _counts(rows: Mapping[str, np.ndarray], parts: Mapping[str, np.ndarray]) -> dict[str, int]:
  attackers = {f"attacker_{name}": len(x) for name, x in rows.items()}
  return attackers | {f"utility_{name}": len(x) for name, x in parts.items()}


def _rows(z: np.ndarray, y: np.ndarray, parts: Mapping[str, np.ndarray]) -> Rows:
  train, validation, test = (parts[name] for name in PARTS)
  return Rows(z[train], y[train], z[validation], y[validation], z[test])


def _attribute_jobs(
  name: str, attribute: Private, z: np.ndarray, rows: Mapping[str, np.ndarray], options: Options
) -> list[Job]:
  _check_parts(name, attribute, rows)
  chosen, n_classes = _rows(z, attribute.values, rows), len(attribute.classes)
  each = attackers(options.attackers, n_classes=n_classes, width=z.shape[1], n_rows=len(chosen.z))
  return [Job(name, attacker, chosen, n_classes) for attacker in each]


def _utility_jobs(goal: Target, z: np.ndarray, parts: Mapping[str, np.ndarray]) -> list[Job]:
  _check_parts("target", Private(goal.values, ("0", "1")), parts)
  rows = _rows(z, goal.values.astype(np.int32), parts)
  each = attackers("fast", n_classes=2, width=z.shape[1], n_rows=len(rows.z))
  return [Job(None, a, rows, 2) for a in each if a.family in ("logistic", "boosting")]


def _run(jobs: list[Job], options: Options) -> list[tuple[Job, tuple[np.ndarray, np.ndarray]]]:
  """Runs the most costly first, so that no process ends long after the others; returns them in order."""
  order = sorted(range(len(jobs)), key=lambda i: -jobs[i].attacker.cost)
  outputs = run_all([jobs[i][1:] for i in order], n_jobs=options.n_jobs)
  found = dict(zip(order, outputs, strict=True))
  return [(job, found[i]) for i, job in enumerate(jobs)]


def _add_fewer_labels(
  found: dict[str, Any],
  z: np.ndarray,
  labels: Mapping[str, Private],
  rows: Mapping[str, np.ndarray],
  options: Options,
) -> None:
  """Adds `few_labels`: the strongest attacker again with 1 and 10 percent of the labels; None: too few."""
  jobs, places = [], []
  for name, attribute in labels.items():
    n_classes, found[name]["few_labels"] = len(attribute.classes), {}
    for share in SHARES:
      chosen = rows["train"][: round(share * len(rows["train"]))]
      counts = np.bincount(attribute.values[chosen], minlength=n_classes) if n_classes else [len(chosen)]
      choices = attackers(options.attackers, n_classes=n_classes, width=z.shape[1], n_rows=len(chosen))
      same = [a for a in choices if a.name == found[name]["strongest"]["name"]]  # kNN: not with so few rows
      found[name]["few_labels"][f"{share:g}"] = None
      if same and len(chosen) >= LEAST_LABELS and min(counts) >= LEAST_OF_A_CLASS:
        jobs.append((same[0], _rows(z, attribute.values, {**rows, "train": chosen}), n_classes))
        places.append((name, f"{share:g}"))
  outputs = run_all(jobs, n_jobs=options.n_jobs) if jobs else []
  for (name, share), (_, test) in zip(places, outputs, strict=True):
    found[name]["few_labels"][share] = findings.score_of(labels[name], test, rows["test"])
