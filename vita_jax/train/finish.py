"""After the last stage: final numbers, summary.json, figures and the weights; and reading them again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from vita_jax.base.files import read_json, remedy, write_bytes, write_json
from vita_jax.base.tree import named_leaves
from vita_jax.report.curves import write_figures
from vita_jax.report.summary import summarize
from vita_jax.train import checkpoint
from vita_jax.train.cluster import on_main
from vita_jax.train.config import as_dict, base_config, config_hash, versions
from vita_jax.train.errors import RunError
from vita_jax.train.experiment import Experiment, Report, State
from vita_jax.train.identity import check_same, identity_of
from vita_jax.train.mesh import make_mesh
from vita_jax.train.programs import SKIPS, Programs
from vita_jax.train.replicate import STEPS
from vita_jax.train.transfer import on_host, without_axis
from vita_jax.train.weights import save_params


def final_report(experiment: Experiment, programs: Programs, state: State) -> Report:
  """Computes the experiment's own report, or every eval on the final state as `<eval>_<metric>`."""
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
  *,
  warn: Callable[[str], None],
) -> dict[str, Any]:
  """Writes the report's files, `export/`, `summary.json` and, last, figures; returns the summary.

  Of several processes all compute the report, and the main one writes. A seed that was frozen because its
  steps were not finite (see `programs.SKIPS`) has no final numbers: it counts as diverged.

  Raises:
    RunError: weights that are not finite, or a file that cannot be written.
  """
  if jax.process_count() > 1:
    state = without_axis(state, "seed")  # a report may look at any replica
  report = final_report(experiment, programs, state)
  params = on_host(_single_params(experiment, state))
  for name, leaf in named_leaves(params).items():
    if jnp.issubdtype(leaf.dtype, jnp.inexact) and not np.isfinite(leaf).all():
      raise RunError(f"the weights to export are not finite ('{name}'): nothing was exported")
  seeds = experiment.replicas or 1
  frozen = [i for i, count in enumerate(progress.bad) if count >= SKIPS]
  steps = np.asarray(state[STEPS]).tolist() if experiment.replicas else [progress.step]
  summary = {
    "experiment": config["paper"],
    "config_hash": config_hash(config),
    "complete": True,
    "seeds": list(range(config["seed"], config["seed"] + seeds)),
    "steps": steps,
    "seconds": round(progress.seconds, 3),
    "versions": versions(),
    "metrics": final_metrics(report, frozen),
    "frozen": [config["seed"] + i for i in frozen],
  }

  def write() -> None:
    for name, content in report.files.items():
      write_bytes(Path(workdir) / name, content.encode() if isinstance(content, str) else content)
    export = Path(workdir) / "export"
    export.mkdir(exist_ok=True)
    save_params(export / "params.safetensors", params)
    write_json(export / "config.json", {"config": config, "seed": config["seed"], "versions": versions()})
    write_json(Path(workdir) / "summary.json", summary)
    write_figures(workdir, report.figures, warn=warn)  # last: a picture is not worth a result

  on_main(lambda: _writing(workdir, write))
  return summary


def final_metrics(report: Report, frozen: Sequence[int] = ()) -> dict[str, Any]:
  """Returns the metrics of a report as summary.json has them; replicas that were `frozen` have none."""

  def of_good(value: Any) -> Any:
    if not isinstance(value, list | tuple):
      return value
    return [None if i in frozen else one for i, one in enumerate(value)]

  return {name: summarize(of_good(value), name=name) for name, value in report.metrics.items()}


def _writing(workdir: Path, action: Callable[[], None]) -> None:
  try:
    action()
  except OSError as error:
    cause = ": ".join(filter(None, (error.filename, error.strerror))) or error
    raise RunError(
      f"the results in {workdir} could not be written ({cause}): all steps are saved;"
      f" {remedy(error) or 'find out why'} and run the same command to write them"
    ) from error


def _single_params(experiment: Experiment, state: State) -> Any:
  params = experiment.params(state)
  return jax.tree.map(lambda x: x[0], params) if experiment.replicas else params


SUMMARY: dict[str, Any] = {  # what each key holds
  "experiment": str,
  "config_hash": str,
  "complete": bool,
  "seeds": list,
  "steps": list,
  "seconds": (int, float),
  "metrics": dict,
}


def read_summary(workdir: Path) -> dict[str, Any] | None:
  """Reads the summary.json of a workdir, or None where the run has not finished.

  Raises:
    RunError: the file is damaged.
  """
  path = Path(workdir) / "summary.json"
  if not path.is_file():  # a folder of that name is told when the workdir is claimed
    return None
  try:
    summary = read_json(path, what="a summary of a run")
    kinds = {**SUMMARY, **({"frozen": list} if "frozen" in summary else {})}
    if wrong := sorted(name for name, kind in kinds.items() if not isinstance(summary.get(name), kind)):
      raise ValueError(f"it lacks {', '.join(wrong)}, or has something else there")
    numbers = [*summary["seeds"], *summary["steps"], *summary.setdefault("frozen", [])]
    if not all(isinstance(number, int) for number in numbers):
      raise ValueError("its seeds and steps are no whole numbers")
    for name, entry in summary["metrics"].items():
      if not (isinstance(entry, dict) and isinstance(entry.get("values"), list)):
        raise ValueError(f"its metric {name} has no values")
  except ValueError as error:
    raise RunError(f"{_damaged(path, error)}: delete it and run launch/train.py again") from error
  return summary


def read_facts(workdir: Path) -> dict[str, Any]:
  """Reads what config.json in a workdir records of its run: config, data and versions (see `identity`).

  Raises:
    RunError: there is none, or its file is damaged.
  """
  path = Path(workdir) / "config.json"
  if not path.is_file():
    raise RunError(f"{workdir} holds no run (no config.json): give the --workdir of launch/train.py")
  try:
    facts = read_json(path, what="the config of a run")
    if not isinstance(facts.get("config"), dict):
      raise ValueError("it holds no config")
  except ValueError as error:
    raise RunError(
      f"{_damaged(path, error)}: delete it and run launch/train.py with the config it was made from"
    ) from error
  return facts


def _damaged(path: Path, error: ValueError) -> str:
  cause = str(error).replace(f"{path} is", "it is", 1)  # `read_json` names the file, too
  return f"{path} is damaged ({cause})"


def read_config(workdir: Path) -> ml_collections.ConfigDict:
  """Reads the resolved config of the run in a workdir.

  Raises:
    RunError: there is none, or its file is damaged.
  """
  return ml_collections.ConfigDict(read_facts(workdir)["config"])


def load_state(
  experiment: Experiment,
  config: ml_collections.ConfigDict,
  workdir: Path,
  *,
  warn: Callable[[str], None] = print,
) -> tuple[State, Programs]:
  """Loads the state of the newest good checkpoint of a run, and programs that evaluate it.

  Raises:
    RunError: no checkpoint (of a complete run: no longer, or never), none that can be read, or one of another
      config or of other data.
  """
  # Whatever devices the run had: its numbers do not depend on them.
  programs = Programs(experiment, make_mesh(base_config().mesh), on_nonfinite=config.on_nonfinite)
  identity = identity_of(experiment, as_dict(config))

  def check(facts: Mapping[str, Any]) -> None:
    remedy = "config.json was edited; delete it and run launch/train.py with the config it was made from"
    check_same(facts, identity, what=str(workdir), remedy=remedy)

  found = checkpoint.restore(Path(workdir) / "checkpoints", programs.abstract, warn=warn, check=check)
  if found is None and (summary := read_summary(Path(workdir))) is not None:
    if not any(summary["steps"]):
      raise RunError(f"{workdir} is of a method that trains nothing: it has no weights to load")
    raise RunError(
      f"{workdir} holds a complete run, but its checkpoints are gone: train in another --workdir, or delete"
      f" {Path(workdir) / 'summary.json'} and train again"
    )
  if found is None:
    raise RunError(f"{workdir} has no checkpoint: run launch/train.py --workdir={workdir} first")
  return found[0], programs
