"""What is said of steps and weights that are not finite: which seed, and what first."""

from __future__ import annotations

from typing import Any

import numpy as np

from vita_jax.train.experiment import Stage, State
from vita_jax.train.lagged import LaggedReader
from vita_jax.train.programs import SKIPS, Programs


def stopped(
  programs: Programs, stage: Stage, state: State, reader: LaggedReader, *, step: int, seed: int
) -> str:
  """The beginning of the line that a run ends with: what was not finite, where, and in which seeds.

  Args:
    programs: of the run.
    stage: of the step.
    state: after it.
    reader: that has just read it.
    step: its number over all stages.
    seed: the first of the run.
  """
  where = f"(stage {stage.name}, seed {_seeds(reader.cursor.bad > 0, seed)})"
  if programs.on_nonfinite == "skip":
    return f"{_cause(programs, reader, state)} not finite in {SKIPS} steps in a row up to step {step} {where}"
  metrics = [name for name in sorted(reader.sums) if not np.isfinite(reader.sums[name][0]).all()]
  what = " and ".join([*metrics, *list(programs.not_finite(state))[:1]])
  return f"{what} not finite at step {step} {where}"


def frozen(programs: Programs, state: State, reader: LaggedReader, before: np.ndarray, *, seed: int) -> str:
  """The line for seeds that were frozen since the counts of bad steps were `before`; "" for none."""
  if programs.on_nonfinite != "skip" or reader.cursor is None:
    return ""
  new = np.atleast_1d((reader.cursor.bad >= SKIPS) & ~(before >= SKIPS))
  if not new.any():
    return ""
  what = _cause(programs, reader, state, int(np.argmax(new)))
  return (
    f"warning: seed {_seeds(new, seed)} is frozen: {what} not finite in {SKIPS} steps in a row; the other"
    " seeds go on, and it counts as diverged"
  )


def _cause(programs: Programs, reader: LaggedReader, state: State, i: int = 0) -> str:
  return programs.cause(int(np.ravel(reader.cursor.cause)[i]), reader.sums, state)


def _seeds(chosen: Any, first: int) -> str:
  return ", ".join(str(first + i) for i in np.flatnonzero(np.atleast_1d(chosen)))


def remedy(on_nonfinite: str) -> str:
  """Returns what a user can do against steps that are not finite."""
  if on_nonfinite != "stop":
    return "Lower the learning rate"
  return (
    "Lower the learning rate, or set --config.on_nonfinite=skip to leave such steps out (in a new --workdir)"
  )
