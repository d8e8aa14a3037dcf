"""What a comparison says of each optimizer over all problems: where it is better, the best, and how late."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vita_jax.optim.comparison import Result, curve_of
from vita_jax.optim.optimizees import WINDOW
from vita_jax.report.overlay import Curve
from vita_jax.report.summary import paired_interval

LEVEL = 0.05  # of ln loss, 5 % of the loss


def tally(results: Sequence[Result], workdir: str | Path, *, reference: str) -> str:
  """Returns Markdown, a row per optimizer: its wins against the reference, and its steps to that one's loss.

  better: problems where ln loss is lower in the paired mean (surely: the 95 % interval is below 0). best:
  lowest mean of all optimizers, or level with that one: the paired interval holds 0 and the means are no more
  than 0.05 apart (of three seeds almost any interval holds 0). An optimizer with a diverged seed is neither.
  steps: to the reference's final ln loss over the reference's own steps to it, the largest of all problems,
  of curves averaged over the seeds; "never" where it does not come there.

  Args:
    results: of `comparison.compare`; problems that the reference lacks do not count.
    workdir: of the runs.
    reference: label of an optimizer.
  """
  tasks = [t for t in dict.fromkeys(r.task for r in results) if _found(results, t, reference)]
  lines = [
    "",
    f"Problems: {len(tasks)}, beside {reference} (ln loss; see `vita_jax.optim.verdicts.tally`):",
    "",
    "| optimizer | problems | better | surely | best or level | diverged seeds | steps to its loss, worst |",
    "|---" * 7 + "|",
  ]
  for label in dict.fromkeys(r.entrant.label for r in results):
    rows = [(r, task) for task in tasks if (r := _found(results, task, label))]
    if not rows:
      continue
    found = [_beside(r, _found(results, task, reference)) for r, task in rows]
    level = sum(_is_level(r, [x for x in results if x.task == task]) for r, task in rows)
    late = [_lateness(r, _found(results, task, reference), workdir) for r, task in rows]
    better, surely = (sum(pair[i] for pair in found) for i in (0, 1))
    gone = sum(value is None for r, _ in rows for value in _values(r))
    worst = "1" if label == reference else "never" if math.inf in late else f"{max(late):.2f}"
    ours = ("", "") if label == reference else (str(better), str(surely))
    lines.append("| " + " | ".join([label, str(len(rows)), *ours, str(level), str(gone), worst]) + " |")
  return "\n".join([*lines, ""])


def _found(results: Sequence[Result], task: str, label: str) -> Any:
  return next((r for r in results if r.task == task and r.entrant.label == label), None)


def _values(result: Result) -> list[float | None]:
  return result.summary["metrics"]["ln_loss"]["values"]


def _beside(ours: Result, theirs: Result) -> tuple[bool, bool]:
  """(lower in the paired mean, with an interval below 0)."""
  if None in _values(ours) or ours is theirs:
    return False, False
  if None in _values(theirs):
    return True, False
  found = paired_interval(_values(ours), _values(theirs))
  return float(np.mean(np.subtract(_values(ours), _values(theirs)))) < 0, bool(found and found[2] < 0)  # type: ignore[arg-type]


def _is_level(ours: Result, rivals: Sequence[Result]) -> bool:
  whole = [r for r in rivals if None not in _values(r)]
  if ours not in whole:
    return False
  best = min(whole, key=lambda r: float(np.mean(_values(r))))  # type: ignore[arg-type]
  if ours is best:
    return True
  found = paired_interval(_values(ours), _values(best))
  return bool(found and found[1] <= 0 and found[0] <= LEVEL)


def _lateness(ours: Result, theirs: Result, workdir: str | Path) -> float:
  """Steps to the reference's final loss over its own; inf where one comes there never."""
  one, other = (curve_of(r, workdir) for r in (ours, theirs))
  level = float(np.mean(_running(other)[:, -1]))
  steps = [_steps_to(level, c) for c in (one, other)]
  return steps[0] / steps[1] if math.isfinite(steps[1]) else math.nan


def _running(c: Curve) -> np.ndarray:
  """Means over the last 100 steps at each logged one; fewer at first."""
  width = max(1, round(WINDOW / (c.steps[-1] / len(c.steps))))
  total = np.cumsum(np.pad(c.values, ((0, 0), (1, 0))), axis=1)
  ends = np.arange(1, len(c.steps) + 1)
  starts = np.maximum(ends - width, 0)
  return (total[:, ends] - total[:, starts]) / (ends - starts)


def _steps_to(level: float, c: Curve) -> float:
  """Steps until the mean curve of the seeds is at the level; inf for never, or where a seed diverged."""
  mean = np.mean(_running(c), axis=0)
  below = mean <= level + 1e-9
  return math.inf if c.diverged.any() or not below.any() else float(c.steps[below.argmax()])
