"""Compares learned and tuned classical optimizers on any optimizees, under equal budgets.

  python launch/l2o/optimize.py --optimizer=rnnprop-cl-il,mine=runs/mine/export,adam,sgd:0.1,untrained-dm \\
    --task=mnist_mlp,mnist_relu --steps=10000 --seeds=5 --workdir=runs/compare

An optimizer is a shipped one, LABEL=FOLDER of an export, a classical one by its name in optax (adamw, lion,
muon, schedule_free_adamw, adafactor, ...; its rate tuned on a grid, on other seeds), one with a fixed rate
(adam:0.001), or an untrained control. A task is a name, or package.module:function that returns an Optimizee.
Writes table.md, table.csv, curves.png and results.json (which a later call extends) into the workdir. Every
row is a run of configs/l2o/optimize.py in a folder of its own: the same command continues where it was
stopped, and an optimizer that is added reuses the others' runs. MNIST and CIFAR-10
need VITA_DATA_DIR; the digits tasks need nothing.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from vita_jax import cli
from vita_jax.base.choose import choose
from vita_jax.base.files import read_json, write_json, write_text
from vita_jax.optim import comparison, verdicts
from vita_jax.report import suite
from vita_jax.report.pictures import save_figure
from vita_jax.train import cluster

OPTIMIZER = flags.DEFINE_list("optimizer", None, "Optimizers, see above.", required=True)
TASK = flags.DEFINE_list("task", None, "Optimizees, e.g. digits_mlp,mnist_relu.", required=True)
STEPS = flags.DEFINE_integer("steps", 10_000, "Steps of every optimization, at least 100.")
SEEDS = flags.DEFINE_integer("seeds", 5, "Optimizations that are reported, each from a new x_0.")
SEED = flags.DEFINE_integer("seed", 0, "The first seed.")
SPLIT = flags.DEFINE_string("split", "test", "Split to fit, test (the paper's) or train; the other scores.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images in a minibatch.")
LOGIT_RELU = flags.DEFINE_bool("logit_relu", False, "End convolutional networks in a ReLU, as released.")
RATES = flags.DEFINE_list("rates", [str(r) for r in comparison.GRID], "Learning rates that are tried.")
TUNING_SEEDS = flags.DEFINE_integer("tuning_seeds", 3, "Optimizations with each of them, on other seeds.")
SCHEDULE = flags.DEFINE_enum("schedule", "constant", comparison.SCHEDULES, "Of all rates.")
COST = flags.DEFINE_enum("cost", "steps", ("steps", "seconds"), "seconds: also a table at equal seconds.")
REFERENCE = flags.DEFINE_string("reference", None, "Label to compare with; default: adam, else the first.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the table, the figure and the runs.", required=True)
limits = cli.define_watchdog()


def main() -> None:
  import jax

  cluster.start_watchdog(**limits())
  entrants = [comparison.entrant(text.strip()) for text in OPTIMIZER.value]
  labels = tuple(entrant.label for entrant in entrants)
  reference = choose("reference", REFERENCE.value or ("adam" if "adam" in labels else labels[0]), labels)
  workdir = Path(WORKDIR.value)
  protocol = comparison.Protocol(
    steps=STEPS.value,
    seeds=SEEDS.value,
    seed=SEED.value,
    split=SPLIT.value,
    batch_size=BATCH_SIZE.value,
    logit_relu=LOGIT_RELU.value,
    grid=tuple(float(rate) for rate in RATES.value),
    tuning_seeds=TUNING_SEEDS.value,
    schedule=SCHEDULE.value,
    replicate="map" if jax.default_backend() == "cpu" else "vmap",
  )
  tasks, run = [name.strip() for name in TASK.value], functools.partial(run_row, workdir)
  results: list[comparison.Result] = []
  kept = workdir / "results.json"
  before = read_json(kept)["results"] if kept.is_file() else []
  for result in comparison.compare(entrants, tasks, protocol, run=run, reference=reference):
    results.append(result)
    text = write_tables(workdir, results)  # after each: a stopped comparison shows what it has
    write_json(kept, {"results": comparison.record(results, protocol, before)})
  text += verdicts.tally(results, workdir, reference=reference)
  if COST.value == "seconds":
    text += comparison.at_equal_seconds(results, workdir)
  write_text(workdir / "table.md", text)
  save_figure(workdir / "curves.png", functools.partial(comparison.figure, results, workdir))
  print(text)
  print(f"written: {workdir}/table.md, table.csv, curves.png, results.json; runs: {workdir}/<row>/")


def run_row(workdir: Path, row: suite.Row) -> dict[str, Any]:
  """Runs, resumes or reads a row, and says which."""
  print(row.label, file=sys.stderr, flush=True)
  return cli.run_row(row, workdir)


def write_tables(workdir: Path, results: Sequence[comparison.Result]) -> str:
  """Writes table.md and table.csv; returns the Markdown."""
  lines = suite.make_lines([r.row for r in results], {r.row.label: r.summary for r in results})
  text = suite.markdown(lines, title="Optimizers") + comparison.notes(results)
  write_text(workdir / "table.md", text)
  write_text(workdir / "table.csv", suite.comma_separated(lines))
  return text


if __name__ == "__main__":
  cli.run(main)
