"""What is said of steps and weights that are not finite: which seed, and what first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vita_jax.train.checkpoint import good_steps
from vita_jax.train.experiment import Stage, State
from vita_jax.train.lagged import LaggedReader
from vita_jax.train.programs import SKIPS, Programs


def stopped(
  programs: Programs,
  stage: Stage,
  state: State,
  reader: LaggedReader,
  *,
  step: int,
  seed: int,
  workdir: Path,
) -> str:
  """The line that a run ends with: what was not finite, where, in which seeds, and what is left.

  Args:
    programs: of the run.
    stage: of the step.
    state: after it.
    reader: that has just read it.
    step: its number over all stages.
    seed: the first of the run.
    workdir: of the run, to which all that was saved is written.
  """
  where = f"(stage {stage.name}, seed {_seeds(reader.cursor.bad > 0, seed)})"
  good = good_steps(workdir / "checkpoints")
  last = f"last good checkpoint: {f'step {good[-1]}' if good else 'none'}. Lower the learning rate"
  if programs.on_nonfinite == "skip":
    what = _cause(programs, reader, state)
    return f"{what} not finite in {SKIPS} steps in a row up to step {step} {where}; {last}"
  metrics = [name for name in sorted(reader.sums) if not np.isfinite(reader.sums[name][0]).all()]
  what = " and ".join([*metrics, *list(programs.not_finite(state))[:1]])
  return (
    f"{what} not finite at step {step} {where}; {last}, or set --config.on_nonfinite=skip to leave such steps"
    " out (in a new --workdir)"
  )


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
