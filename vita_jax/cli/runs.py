"""Runs: built from a config, trained in a workdir or loaded from it, and their numbers printed."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

from vita_jax import help as script_help
from vita_jax import papers, train
from vita_jax.base import keys
from vita_jax.report.summary import CANNOT_BE, format_metric
from vita_jax.train import cluster
from vita_jax.train.config import KEYS, as_dict, check_config, config_hash
from vita_jax.train.display import waiting
from vita_jax.train.finish import load_state, read_config, read_summary


def build(config: Any) -> train.Experiment:
  """Builds the experiment of a config, replicated when `config.seeds` asks for several."""
  check_config(config)
  with waiting("preparing data and model", quiet=not cluster.is_main()):
    experiment = papers.build(config)
  return train.replicate(experiment, config.seeds, config.replicate) if config.seeds > 1 else experiment


def explain(config: Any) -> str:
  """Returns every key of a config with its value, what it may be, and what it means, as a text table."""
  return script_help.as_called(keys.explain(config, KEYS, papers.keys(config.paper)))


def finished(config: Any, folder: Path) -> dict[str, Any] | None:
  """Returns the summary in a folder, if it is of a complete run of this config; reads no data."""
  found = read_summary(folder)
  same = found and found["complete"] and found["config_hash"] == config_hash(as_dict(config))
  return found if same else None


def trained(config: Any, folder: Path, *, quiet: bool = False) -> dict[str, Any]:
  """Returns the summary of a config: trained in a folder, resumed there, or read where it is finished."""
  return finished(config, folder) or train.run(build(config), config, folder, quiet=quiet)


def finished_run(workdir: str) -> tuple[train.Experiment, Any, Any, Any]:
  """Loads (experiment, config, state, programs) of the run in a workdir, from its newest good checkpoint.

  Raises:
    RunError: its config.json is no config, or see `train.finish.load_state`.
  """
  config = read_config(Path(workdir))
  try:
    check_config(config)
    papers.check(config)
  except ValueError as error:
    raise train.RunError(
      f"{Path(workdir) / 'config.json'} is no config of this code ({error}): it was edited, or another"
      " version wrote it; delete it and run launch/train.py with the config it was made from"
    ) from error
  experiment = build(config)
  warn = functools.partial(print, file=sys.stderr)
  state, programs = load_state(experiment, config, Path(workdir), warn=warn)
  return experiment, config, state, programs


def exported(workdir: str, seed: int | None) -> tuple[train.Exported, int]:
  """Returns what the run in a workdir exports for one seed (default: its first), and that seed.

  Raises:
    ValueError: the run does not have that seed, or its experiment exports only weights.
  """
  experiment, config, state, _ = finished_run(workdir)
  seed = config.seed if seed is None else seed
  if not 0 <= seed - config.seed < config.seeds:
    last = config.seed + config.seeds - 1
    raise ValueError(f"--seed={seed} is not in this run: it has {config.seed} to {last}")
  single = papers.build(config)
  if single.export is None:
    raise ValueError(f"the experiment in {workdir} has no program to export, only weights (export/)")
  one = train.replica(state, seed - config.seed) if experiment.replicas else state
  return single.export(one), seed


def print_summary(summary: dict[str, Any], workdir: str) -> None:
  """Prints the final numbers of a run, and where they were written; the main process only."""
  if cluster.is_main():
    print_metrics(summary)
    print(f"written: {workdir}/summary.json, metrics.jsonl, figures/, export/, checkpoints/, tensorboard/")


def print_metrics(summary: dict[str, Any]) -> None:
  """Prints the final numbers as a small table; a mean of whole numbers has one digit after the point."""
  seeds, seconds = len(summary["seeds"]), summary["seconds"]
  print(f"complete: {summary['experiment']}, {seeds} seed(s), {seconds:.1f} s of training")
  width = max(map(len, summary["metrics"]), default=0)
  for name, entry in summary["metrics"].items():
    percent = name.endswith(("accuracy", "accuracy_low", "accuracy_high"))
    whole = not percent and all(value is None or value == int(value) for value in entry["values"])
    digits = (1 if len(entry["values"]) > 1 else 0) if whole else None
    print(f"  {name:<{width}}  {format_metric(entry, percent=percent, digits=digits)}")
  if any(entry.get("impossible") for entry in summary["metrics"].values()):
    print(f"  {CANNOT_BE}")
