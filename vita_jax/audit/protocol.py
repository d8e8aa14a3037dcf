"""The audit of a representation, from anywhere: what new attackers find in it, and what it is good for.

Attackers are trained on rows of their own, chosen on validation rows, and reported on test rows that neither
they nor the encoder have seen. The result is an empirical bound over the attackers tried: it is no
differential privacy, no guarantee against others, and says nothing of membership.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vita_jax.audit import findings
from vita_jax.audit.attackers import KINDS, Attacker, Rows, attackers, run_all
from vita_jax.audit.labels import Private, Target, as_private, as_target, check_label
from vita_jax.audit.questions import Question, questions
from vita_jax.audit.rows import Inputs, check_matrix, record_groups, scale
from vita_jax.audit.scores import LEAST_OF_A_CLASS, USELESS
from vita_jax.base.choose import choose
from vita_jax.data.splits import combinations, draw_split

VERSION = 3  # of the protocol: numbers of different versions do not compare (CHANGELOG.md)
PARTS = ("train", "validation", "test")
SHARES = (0.01, 0.1)  # of the attackers' labels, for the strongest attacker with fewer
LEAST_LABELS = 20
SPLITS = ("train", "disjoint")
DUPLICATES = ("together", "apart")


class Options(NamedTuple):
  """Which attackers, on which rows.

  Attributes:
    attackers: "all" or "fast" (logistic, boosting, neighbours, MLP).
    attacker_split: "train" takes the encoder's own training rows (what an insider has), "disjoint" cuts the
      validation rows in two (what an outsider with other people's data has).
    attacker_rows, test_rows: at most so many; 0: all.
    duplicates: equal and nearly equal rows (standardised, closer than 1e-6) stay "together" on one side of
      the split, or "apart": every row counts as a record of its own. They are together only where enough
      distinct rows are left to split, see `rows.record_groups`; where they are not, headlines say so.
    n_jobs: processes; 0: one per core.
  """

  attackers: str = "all"
  attacker_split: str = "train"
  attacker_rows: int = 0
  test_rows: int = 0
  duplicates: str = "together"
  n_jobs: int = 0


class Job(NamedTuple):
  """An attacker to train: what it `finds` is (private attribute, kind of question); None: the target."""

  finds: tuple[str, str] | None
  attacker: Attacker
  rows: Rows
  n_classes: int


def audit(
  z: np.ndarray,
  *,
  private: Mapping[str, Any],
  target: Any = None,
  parts: Mapping[str, np.ndarray] | None = None,
  groups: Any = None,
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
    groups: a column [n], e.g. ids of persons: rows of one value stay on one side of the split. None: rows
      that are equal or nearly so do (see `Options.duplicates`). Rows of given `parts` that would be on two
      sides are left out of the later one.
    options: see `Options`.
    seed: of the split that is drawn.

  Returns:
    Plain data: `version`, `rows`, `same_records`, `width`, `collapsed`, `utility`, and `private` by name:
    every attacker, the strongest on validation rows, its interval, the worst class, the largest test score,
    what fewer labels and the bare utility score give; of a continuous attribute all that of its `rank` and
    its `bins`, too. `collapsed`: nothing varies, or the target can no longer be told (AUC under 0.55).

  Raises:
    ValueError: parts that overlap, values that are not finite, labels that no attacker could learn.

  Examples:
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
  choose("audit.duplicates", options.duplicates, DUPLICATES)
  z = check_matrix(z)
  labels = {name: as_private(name, column) for name, column in private.items()}
  goal = None if target is None else as_target(target)
  _check_labels(labels, goal, len(z))
  records, same = _records(z, groups, options)
  if parts is None:
    strata = [x.values for x in labels.values() if x.classes] + ([goal.values] if goal else [])
    parts = draw_split(len(z), strata=strata, groups=records, seed=seed)
  _check_disjoint(parts)
  parts, same["left_out"] = _on_one_side(parts, records)
  inputs = scale(z, parts["train"])
  rows = attacker_parts(parts, options, records)
  asked = {name: questions(x, rows["train"]) for name, x in labels.items()}
  jobs = [job for name, each in asked.items() for q in each for job in _jobs(name, q, inputs, rows, options)]
  outputs = _run(jobs + (_utility_jobs(goal, inputs, parts) if goal else []), options)
  result: dict[str, Any] = {
    "version": VERSION,
    "rows": _counts(rows, parts),
    "same_records": same,
    "width": z.shape[1],
    "collapsed": not inputs.exact[parts["train"]].any(),
    "options": options._asdict(),
  }
  score: np.ndarray | None = None
  if goal:
    models: list[tuple[str, findings.Predictions]] = [
      (job.attacker.name, [p[:, 1] for p in out]) for job, out in outputs if job.finds is None
    ]
    result["utility"], score = findings.utility(models, goal, parts, records=records)
    result["collapsed"] |= result["utility"]["best"]["auc"] < USELESS
  result["private"] = {}
  for name, each in asked.items():
    main, *others = (_answer(name, question, outputs, score, rows, records) for question in each)
    result["private"][name] = main | {q.kind: told for q, told in zip(each[1:], others, strict=True)}
    if goal and score is not None and labels[name].classes:
      result["private"][name]["fairness"] = findings.fairness(score, labels[name], goal, parts)
  _add_fewer_labels(result["private"], inputs, asked, rows, options)
  return result


def attacker_parts(
  parts: Mapping[str, np.ndarray], options: Options, records: np.ndarray | None = None
) -> dict[str, np.ndarray]:
  """Returns the attackers' "train", "validation" and "test" rows, disjoint, a random subset where limited.

  Args:
    records: int [n]; rows of one record are in one part. None: every row is a record of its own.
  """
  generator = np.random.default_rng(0)
  shuffled = {name: generator.permutation(rows) for name, rows in parts.items()}
  learn, choosing = shuffled["train"], shuffled["validation"]
  if options.attacker_split == "disjoint":
    half = len(choosing) // 2
    learn, choosing = choosing[:half], choosing[half:]
    if records is not None:
      choosing = choosing[~np.isin(records[choosing], records[learn])]
  few = options.attacker_rows and max(options.attacker_rows // 2, 1)
  return {
    "train": learn[: options.attacker_rows or None],
    "validation": choosing[: few or None],
    "test": shuffled["test"][: options.test_rows or None],
  }


def _records(z: np.ndarray, groups: Any, options: Options) -> tuple[np.ndarray, dict[str, Any]]:
  """Numbers the records that rows belong to, int32 [n], and says how that was decided."""
  if groups is not None:
    groups = np.asarray(groups)
    if groups.shape != (len(z),):
      raise ValueError(f"groups have the shape {groups.shape}, the representation {len(z)} rows: match them")
    records = combinations([groups.astype(str) if groups.dtype.kind == "O" else groups])
    sizes = np.bincount(records)
    told = {"rows": int(sizes[sizes > 1].sum()), "groups": int((sizes > 1).sum())}
    return records, {"by": "groups", **told, "largest": int(sizes.max()), "rows_apart": 0}
  if options.duplicates == "apart":
    return np.arange(len(z)), {"by": "nothing", "rows": 0, "groups": 0, "largest": 1, "rows_apart": 0}
  records, told = record_groups(scale(z).exact)
  return records, {"by": "equal rows", **told}


def _on_one_side(parts: Mapping[str, np.ndarray], records: np.ndarray) -> tuple[dict[str, np.ndarray], int]:
  """Leaves rows out of a part if an earlier one has their record; returns how many, too."""
  kept, taken, left_out = {}, np.zeros(0, records.dtype), 0
  for name in PARTS:
    known = np.isin(records[parts[name]], taken)
    kept[name] = np.asarray(parts[name])[~known]
    taken, left_out = np.concatenate([taken, records[parts[name]]]), left_out + int(known.sum())
    if not len(kept[name]):
      raise ValueError(
        f"all {name} rows are records that an earlier part of the split has, too: give another split, or"
        " duplicates='apart' if equal rows are different records"
      )
  return kept, left_out


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


def _check_parts(name: str, question: Question, rows: Mapping[str, np.ndarray]) -> None:
  """Refuses parts in which a label has one class or value; training rows need two of each class."""
  for part, chosen in rows.items():
    values, n_classes = question.labels[chosen], len(question.classes)
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


def _rows(x: np.ndarray, y: np.ndarray, parts: Mapping[str, np.ndarray]) -> Rows:
  train, validation, test = (parts[name] for name in PARTS)
  return Rows(x[train], y[train], x[validation], y[validation], x[test])


def _jobs(
  name: str, question: Question, inputs: Inputs, rows: Mapping[str, np.ndarray], options: Options
) -> list[Job]:
  """Of a continuous attribute, the rank and the bins are asked of the fast attackers only."""
  if question.kind == "bins" and len(question.classes) < 2:
    return []
  _check_parts(name, question, rows)
  kind = "fast" if question.kind in ("rank", "bins") else options.attackers
  n_classes, width = len(question.classes), inputs.exact.shape[1]
  views = {reads: _rows(x, question.labels, rows) for reads, x in inputs._asdict().items()}
  each = attackers(kind, n_classes=n_classes, width=width, n_rows=len(rows["train"]))
  return [Job((name, question.kind), a, views[a.reads], n_classes) for a in each]


def _utility_jobs(goal: Target, inputs: Inputs, parts: Mapping[str, np.ndarray]) -> list[Job]:
  question = Question("target", goal.values.astype(np.int32), ("0", "1"))
  _check_parts("target", question, parts)
  each = attackers("fast", n_classes=2, width=inputs.exact.shape[1], n_rows=len(parts["train"]))
  views = {reads: _rows(x, question.labels, parts) for reads, x in inputs._asdict().items()}
  return [Job(None, a, views[a.reads], 2) for a in each if a.family in ("logistic", "boosting")]


def _answer(
  name: str,
  question: Question,
  outputs: Sequence[tuple[Job, findings.Predictions]],
  score: np.ndarray | None,
  rows: Mapping[str, np.ndarray],
  records: np.ndarray,
) -> dict[str, Any]:
  """Tells what the attackers of one question found; the bare utility score is one of them."""
  each = [(job.attacker, out) for job, out in outputs if job.finds == (name, question.kind)]
  if not each:
    return {}
  if score is None:
    return findings.answer(question, each, rows, records=records)
  bare = findings.score_attacker(score, question, rows)
  told = findings.answer(question, [*each, bare], rows, records=records)
  return told | {"score_alone": findings.score_of(question, bare[1], rows)}


def _run(jobs: list[Job], options: Options) -> list[tuple[Job, tuple[np.ndarray, np.ndarray]]]:
  """Runs the most costly first, so that no process ends long after the others; returns them in order."""
  order = sorted(range(len(jobs)), key=lambda i: -jobs[i].attacker.cost)
  outputs = run_all([jobs[i][1:] for i in order], n_jobs=options.n_jobs)
  found = dict(zip(order, outputs, strict=True))
  return [(job, found[i]) for i, job in enumerate(jobs)]


def _add_fewer_labels(
  found: dict[str, Any],
  inputs: Inputs,
  asked: Mapping[str, tuple[Question, ...]],
  rows: Mapping[str, np.ndarray],
  options: Options,
) -> None:
  """Adds `few_labels`: the strongest attacker again with 1 and 10 percent of the labels; None: too few."""
  jobs, places = [], []
  for name, (question, *_) in asked.items():
    n_classes, found[name]["few_labels"] = len(question.classes), {}
    trained = [a for a in found[name]["attackers"] if a["family"] != "score"]
    strongest = max(trained, key=lambda a: a["validation"])["name"]
    for share in SHARES:
      chosen = rows["train"][: round(share * len(rows["train"]))]
      counts = np.bincount(question.labels[chosen], minlength=n_classes) if n_classes else [len(chosen)]
      width = inputs.exact.shape[1]
      choices = attackers(options.attackers, n_classes=n_classes, width=width, n_rows=len(chosen))
      same = [a for a in choices if a.name == strongest]  # kNN: not with so few rows
      found[name]["few_labels"][f"{share:g}"] = None
      if same and len(chosen) >= LEAST_LABELS and min(counts) >= LEAST_OF_A_CLASS:
        few = _rows(getattr(inputs, same[0].reads), question.labels, {**rows, "train": chosen})
        jobs.append((same[0], few, n_classes))
        places.append((name, question, f"{share:g}"))
  outputs = run_all(jobs, n_jobs=options.n_jobs) if jobs else []
  for (name, question, shown), predictions in zip(places, outputs, strict=True):
    found[name]["few_labels"][shown] = findings.score_of(question, predictions, rows)
