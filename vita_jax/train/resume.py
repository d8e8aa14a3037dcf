"""What a run starts from: the newest good checkpoint of its workdir, or the first state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from vita_jax.train import checkpoint
from vita_jax.train.checkpoint import Progress
from vita_jax.train.display import Display
from vita_jax.train.experiment import Experiment, State
from vita_jax.train.identity import Identity, check_same, version_changes
from vita_jax.train.programs import Programs
from vita_jax.train.weights import start_from


def start_or_resume(
  experiment: Experiment,
  programs: Programs,
  manager: Any,
  seeds: jax.Array,
  config: Mapping[str, Any],
  identity: Identity,
  workdir: Path,
  display: Display,
) -> tuple[State, Progress]:
  """Restores the newest good checkpoint, or makes the first state.

  Args:
    experiment: what is trained.
    programs: its programs.
    manager: of the workdir's checkpoints.
    seeds: uint32, one seed or [replicas].
    config: the resolved config; `init_from` is read.
    identity: of this run, compared to that of what was saved.
    workdir: named in messages.
    display: takes warnings.

  Raises:
    RunError: what was saved is of another config, data or code, or none of it is whole.
    ValueError, FileNotFoundError: weights of `init_from` that do not fit, or are not there.
  """
  changes = ""

  def check_facts(facts: Mapping[str, Any]) -> None:
    nonlocal changes
    check_same(facts, identity, what=str(workdir))
    changes = version_changes(facts, identity)

  found = checkpoint.restore(manager.directory, programs.abstract, warn=display.line, check=check_facts)
  if found is None:
    state = programs.init(seeds)
    if config["init_from"]:
      state = start_from(state, config["init_from"], replicas=experiment.replicas)
    return state, Progress()
  checkpoint.set_aside(manager, after=found[1].step)  # only now: a good one is known to be there
  display.line(f"resuming {workdir} at step {found[1].step}")
  if changes:
    display.line(f"saved under other versions: {changes}; the last digits of numbers may differ")
  return found
