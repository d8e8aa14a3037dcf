"""After the last stage: final numbers, summary.json, figures and the weights; and reading them again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np

from vita_jax.base.files import write_json, write_text
from vita_jax.report.curves import write_figures
from vita_jax.report.summary import summarize
from vita_jax.train import checkpoint
from vita_jax.train.cluster import on_main
from vita_jax.train.config import base_config, config_hash, versions
from vita_jax.train.errors import RunError
from vita_jax.train.experiment import Experiment, Report, State
from vita_jax.train.mesh import make_mesh
from vita_jax.train.programs import Programs, make_programs
from vita_jax.train.replicate import STEPS
from vita_jax.train.transfer import on_host, without_axis
from vita_jax.train.weights import save_params


def final_report(experiment: Experiment, programs: Programs, state: State) -> Report:
  """The experiment's own report, or every eval on the final state as `<eval>_<metric>`."""
  if experiment.report:
    return experiment.report(state, programs.evaluate, programs.sweep)
  values = {name: programs.evaluate(name, state) for name in experiment.evals}
  return Report({f"{e}_{m}": v for e, metrics in values.items() for m, v in metrics.items()})


def write_results(
  experiment: Experiment,
  programs: Programs,
  state: State,
  progress: checkpoint.Progress,
  config: dict[str, Any],
  workdir: Path,
) -> dict[str, Any]:
  """Writes figures, `export/` and, last, `summary.json`; returns the summary.

  Of several processes all compute the report, and the main one writes.
  """
  if jax.process_count() > 1:
    state = without_axis(state, "seed")  # a report may look at any replica
  report = final_report(experiment, programs, state)
  params = on_host(_single_params(experiment, state))
  seeds = experiment.replicas or 1
  steps = np.asarray(state[STEPS]).tolist() if experiment.replicas else [progress.step]
  summary = {
    "experiment": config["paper"],
    "config_hash": config_hash(config),
    "complete": True,
    "seeds": list(range(config["seed"], config["seed"] + seeds)),
    "steps": steps,
    "seconds": round(progress.seconds, 3),
    "versions": versions(),
    "metrics": {name: summarize(value) for name, value in report.metrics.items()},
  }

  def write() -> None:
    write_figures(workdir, dict(report.figures))
    for name, text in report.files.items():
      write_text(Path(workdir) / name, text)
    export = Path(workdir) / "export"
    export.mkdir(exist_ok=True)
    save_params(export / "params.safetensors", params)
    write_json(export / "config.json", {"config": config, "seed": config["seed"], "versions": versions()})
    write_json(Path(workdir) / "summary.json", summary)

  on_main(write)
  return summary


def _single_params(experiment: Experiment, state: State) -> Any:
  params = experiment.params(state)
  return jax.tree.map(lambda x: x[0], params) if experiment.replicas else params


def read_summary(workdir: Path) -> dict[str, Any] | None:
  """The summary.json of a workdir, or None where the run has not finished.

  Raises:
    RunError: the file is damaged.
  """
  path = Path(workdir) / "summary.json"
  if not path.exists():
    return None
  try:
    return json.loads(path.read_text())
  except ValueError as error:
    raise RunError(f"{path} is damaged ({error}): delete it and run launch/train.py again") from error


def read_config(workdir: Path) -> ml_collections.ConfigDict:
  """The resolved config of the run in a workdir.

  Raises:
    RunError: there is none, or its file is damaged.
  """
  path = Path(workdir) / "config.json"
  if not path.exists():
    raise RunError(f"{workdir} holds no run (no config.json): give the --workdir of launch/train.py")
  try:
    return ml_collections.ConfigDict(json.loads(path.read_text())["config"])
  except (ValueError, KeyError, TypeError) as error:
    raise RunError(
      f"{path} is damaged ({error}): delete it and run launch/train.py with the config it was made from"
    ) from error


def load_state(
  experiment: Experiment,
  config: ml_collections.ConfigDict,
  workdir: Path,
  *,
  warn: Callable[[str], None] = print,
) -> tuple[State, Programs]:
  """The state of the newest good checkpoint of a run, and programs that evaluate it.

  Raises:
    RunError: no checkpoint, or none that can be read.
  """
  # Whatever devices the run had: its numbers do not depend on them.
  programs = make_programs(experiment, make_mesh(base_config().mesh), on_nonfinite=config.on_nonfinite)
  found = checkpoint.restore(Path(workdir) / "checkpoints", programs.abstract, warn=warn)
  if found is None:
    raise RunError(f"{workdir} has no checkpoint: run launch/train.py --workdir={workdir} first")
  return found[0], programs
