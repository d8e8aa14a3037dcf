"""Trains the tickets of some tasks on all of them.

  python launch/bert_tickets/transfer.py --runs=runs/sst2_imp,runs/cola_imp --sparsity=0.5,0.7 \\
    --workdir=runs/transfer

--runs names workdirs of finished runs of method imp (of launch/train.py, or a row of launch/table.py, with
--split or without) whose tickets have these sparsities; each also says how its task is trained: data, model,
steps, seeds. The ticket of a seed is trained with that seed. A task's own tickets are trained already; the
full model is trained as well and, with --controls, masks of the pre-trained weights' magnitudes (oneshot) and
random ones. Writes transfer.md, transfer.csv and transfer.png into the workdir, each run into its runs/; the
same command resumes where it was stopped.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any, NamedTuple

import ml_collections
from absl import flags

from vita_jax import cli, train
from vita_jax.base.files import write_text
from vita_jax.report.pictures import save_figure
from vita_jax.train import cluster
from vita_jax.train.config import as_dict
from vita_jax.train.finish import read_config, read_summary

RUNS = flags.DEFINE_list(
  "runs", None, "Workdirs of finished runs of method imp, or NAME=WORKDIR.", required=True
)
SPARSITY = flags.DEFINE_list("sparsity", ["0.7"], "Sparsities of the tickets.")
CONTROLS = flags.DEFINE_list(
  "controls", ["oneshot", "random"], "Further rows: oneshot, random; empty for none."
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the table and its runs.", required=True)
limits = cli.define_watchdog()


class Source(NamedTuple):
  """A finished search. config: with all its seeds. folders: the workdir of each seed; often the same."""

  config: Any
  folders: dict[int, Path]


def main() -> None:
  from vita_jax.papers.bert_tickets import transfer

  cluster.start_watchdog(**limits())
  workdir = Path(WORKDIR.value)
  sources = {name: _source(Path(folder)) for name, folder in map(_named, RUNS.value)}
  tickets = {name: _tickets(name, source, workdir) for name, source in sources.items()}
  cells = []
  for target, (config, _) in sources.items():
    full = run(config, {"method": "full", "ticket": ""}, workdir / "runs" / f"full_{target}")
    metric = next(iter(full["metrics"]))
    for sparsity in SPARSITY.value:
      common = {"sparsity": float(sparsity), "tickets": (), "starts": ("theta0",), "ticket": ""}
      rows = {}
      for source, found in tickets.items():
        if source == target:
          rows[source] = _own(sources[target], sparsity, metric)
          continue
        rows[source] = []
        for seed in range(config.seed, config.seed + config.seeds):
          changes = {**common, "seed": seed, "seeds": 1, "ticket": str(found(sparsity, seed))}
          folder = workdir / "runs" / f"{source}_{sparsity}_to_{target}_seed_{seed}"
          rows[source] += run(config, changes, folder)["metrics"][metric]["values"]
      for method in filter(None, CONTROLS.value):
        folder = workdir / "runs" / f"{method}_{sparsity}_{target}"
        rows[method] = run(config, {**common, "method": method}, folder)["metrics"][metric]["values"]
      for source, values in rows.items():
        name, baseline = f"{100 * float(sparsity):g}", full["metrics"][metric]["values"]
        cells.append(transfer.Cell(source, target, name, metric, tuple(values), tuple(baseline)))
      _write(transfer, cells, workdir)  # after every column: a stopped matrix shows what it has
  print(transfer.markdown(cells))
  print(f"written: {workdir}/transfer.md, transfer.csv, transfer.png; runs: {workdir}/runs/")


def run(config: Any, changes: dict[str, Any], folder: Path) -> dict[str, Any]:
  """Returns the summary of the config with these changes: trained in `folder`, resumed, or read there."""
  config = ml_collections.ConfigDict({**as_dict(config), **changes})
  print(folder.name, file=sys.stderr, flush=True)
  return cli.trained(config, folder)


def _named(text: str) -> tuple[str, str]:
  name, _, folder = text.rpartition("=")
  return name or Path(folder).name, folder


def _source(folder: Path) -> Source:
  """The search in a workdir, or in the workdirs seed_0, seed_1, ... that it holds.

  Raises:
    ValueError: see `_imp_config`; parts in which a seed is missing.
  """
  parts = [folder] if (folder / "config.json").exists() else sorted(folder.glob("seed_*")) or [folder]
  configs = {part: _imp_config(part) for part in parts}
  found = {seed: part for part, c in configs.items() for seed in range(c.seed, c.seed + c.seeds)}
  config = configs[parts[0]].copy_and_resolve_references()
  config.update(seed=min(found), seeds=len(found))
  if missing := sorted(set(range(min(found), max(found))) - set(found)):
    raise ValueError(f"{folder} has no run of seed {missing[0]}: run launch/table.py again")
  return Source(config, dict(sorted(found.items())))


def _imp_config(folder: Path) -> Any:
  """The config of a finished run of method imp.

  Raises:
    ValueError: another paper or method, or a run that has not finished.
  """
  config = read_config(folder)
  if config.get("paper") != "bert_tickets" or config.method != "imp" or "theta0" not in config.starts:
    raise ValueError(
      f"{folder} is not a run of bert_tickets with method imp and tickets from theta0: train one first"
    )
  if not (summary := read_summary(folder)) or not summary["complete"]:
    raise ValueError(f"{folder} has not finished: run launch/train.py with its --workdir again")
  have = sorted({*config.tickets, config.sparsity})
  for sparsity in SPARSITY.value:
    if float(sparsity) not in have:
      raise ValueError(f"{folder} has no ticket of sparsity {sparsity}, but of {', '.join(map(str, have))}")
  return config


def _tickets(name: str, source: Source, workdir: Path):
  """`(sparsity, seed) -> file`: writes the tickets of a search on first use."""
  from vita_jax import compress

  opened = functools.lru_cache(maxsize=1)(lambda folder: cli.finished_run(str(folder)))

  def ticket(sparsity: str, seed: int) -> Path:
    path = (workdir / "tickets" / f"{name}_{sparsity}_seed_{seed}.safetensors").resolve()
    if path.exists():
      return path
    if seed not in source.folders:
      raise ValueError(f"{name} has no seed {seed}: all --runs need the same seeds")
    experiment, config, state, _ = opened(source.folders[seed])
    one = train.replica(state, seed - config.seed) if experiment.replicas else state
    masks = compress.unpack(one["tickets"][f"{100 * float(sparsity):g}"], one["params"])
    pretrained = experiment.stages[0].also.get("pretrained")
    digest = compress.weights_sha256(pretrained.arrays["params"], masks) if pretrained else ""
    card = {"task": config.task, "method": config.method, "model": config.model.path, "seed": seed}
    path.parent.mkdir(parents=True, exist_ok=True)
    compress.save_ticket(path, compress.Ticket(masks, digest, card))
    return path

  return ticket


def _own(source: Source, sparsity: str, metric: str) -> list[float]:
  summaries = [read_summary(folder) for folder in dict.fromkeys(source.folders.values())]
  name = f"theta0_{100 * float(sparsity):g}_{metric}"
  return [value for summary in summaries for value in summary["metrics"][name]["values"]]


def _write(transfer: Any, cells: list[Any], workdir: Path) -> None:
  write_text(workdir / "transfer.md", transfer.markdown(cells))
  write_text(workdir / "transfer.csv", transfer.comma_separated(cells))
  save_figure(workdir / "transfer.png", functools.partial(transfer.figure, cells))


if __name__ == "__main__":
  cli.run(main)
