"""Trains the rows of a suite, attacks every network of them, and writes a table of what stays right.

  python launch/ss_gcn/robust_table.py --suite=configs/ss_gcn/table_robust.py --workdir=runs/ss_gcn_robust
  python launch/ss_gcn/robust_table.py --suite=configs/ss_gcn/table_robust.py --workdir=W --rows='^Cora'

A suite here has, beside `get_suite()`, `get_columns()` -> (attack, flip, budget, targets, seeds) and
`get_paper(label)` -> {(flip, budget): robust accuracy}, and perhaps `get_bars(shares, differences)` -> the
Markdown that ends the table. Each row is a run in a folder of its own; what an attack left of it is kept in
--results, seed by seed, from which the same command goes on, here or on another machine; under other settings
an attack is made anew. --rows, --seeds and --targets shorten. After each column robust.md and robust.csv are
written: means and standard deviations over seeds, paired differences to each row's baseline with 95 % Student
intervals, and the paper's numbers.

What the attackers know: see launch/ss_gcn/attack.py. Nettack's flips are made once for all rows.
"""

from __future__ import annotations

import functools
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from vita_jax import cli
from vita_jax.base.files import write_text
from vita_jax.report.results import add_results, load_results
from vita_jax.report.suite import Row, pair_runs
from vita_jax.report.summary import format_metric, join_summaries, summarize
from vita_jax.report.tables import csv_text, grid
from vita_jax.train import cluster

SUITE = flags.DEFINE_string("suite", None, "Python file, see above.", required=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the table and its runs.", required=True)
RESULTS = flags.DEFINE_string(
  "results", None, "File of runs and attacks that are finished; default: WORKDIR/results.jsonl."
)
ROWS = flags.DEFINE_string("rows", "", "Only the rows whose label matches this regular expression.")
SEEDS = flags.DEFINE_integer("seeds", None, "Seeds of every row and column, at most.", lower_bound=1)
TARGETS = flags.DEFINE_integer("targets", None, "Targets of every column, at most.", lower_bound=1)
limits = cli.define_watchdog()
Cells = dict[tuple[str, str], dict[str, Any]]  # (row, column) -> as `_cell` returns it


class Column(NamedTuple):
  """A column of the table, as `get_columns` says."""

  attack: str
  flip: str
  budget: int
  targets: int
  seeds: int

  @property
  def name(self) -> str:
    unit = " %" if self.attack == "gr_bcd" else ""
    return f"{self.attack} {self.flip} {self.budget}{unit}"


def main() -> None:
  import jax

  cluster.start_watchdog(**limits())
  module = cli.load_python(cli.find_suite(SUITE.value))
  if not (hasattr(module, "get_suite") and hasattr(module, "get_columns")):
    like = "configs/ss_gcn/table_robust.py"
    raise ValueError(f"--suite={SUITE.value} needs get_suite() and get_columns(), see {like}")
  rows = [row for row in module.get_suite() if re.search(ROWS.value, row.label)]
  if not rows:
    raise ValueError(f"--rows='{ROWS.value}' matches no label of {SUITE.value}")
  columns = [Column(*column) for column in module.get_columns()]
  columns = [
    c._replace(targets=_least(TARGETS.value, c.targets), seeds=_least(SEEDS.value, c.seeds)) for c in columns
  ]
  workdir, cells = Path(WORKDIR.value), Cells()
  workdir.mkdir(parents=True, exist_ok=True)
  results = Path(RESULTS.value or workdir / "results.jsonl")
  for i, row in enumerate(rows):
    print(f"[{i + 1}/{len(rows)}] {row.label}", file=sys.stderr, flush=True)
    network = Networks(row, workdir).of
    for column in columns:
      cells[row.label, column.name] = _cell(row, network, column, results)
      text = write_tables(rows, columns, cells, module, workdir)
    jax.clear_caches()  # programs of networks hold their weights and tables, and no other row calls them
  print(text)
  print(f"written: {workdir}/robust.md, robust.csv; runs: {workdir}/<row>/")


def _least(asked: int | None, own: int) -> int:
  return own if asked is None else asked if own == 0 else min(asked, own)


class Networks:
  """The networks of a row, whose seeds may be in parts; trained and loaded when the first attack asks."""

  def __init__(self, row: Row, workdir: Path):
    self._row, self._workdir = row, workdir
    self._made: dict[tuple[int, ...], tuple[Any, Any]] = {}

  @functools.cached_property
  def _parts(self) -> tuple[Any, Any, dict[int, Any]]:
    """Returns (recipe, graph, weights by seed)."""
    import jax

    from vita_jax.papers.ss_gcn.data import read_graph
    from vita_jax.papers.ss_gcn.recipe import recipe_of

    cli.run_row(self._row, self._workdir, seeds=SEEDS.value)
    folder, found = self._workdir / self._row.folder, dict[int, Any]()
    for place in (folder, *sorted(folder.glob("seed_*"))):
      if not (place / "config.json").exists():
        continue
      experiment, config, state, _ = cli.finished_run(str(place))
      params = experiment.params(state)
      if experiment.replicas is None:
        params = jax.tree.map(lambda x: x[None], params)
      for i in range(config.seeds):
        found.setdefault(config.seed + i, jax.tree.map(functools.partial(_row_of, i), params))
    recipe = recipe_of(config)
    return recipe, read_graph(recipe), found

  def of(self, seeds: tuple[int, ...]) -> tuple[Any, Any]:
    """Returns the graph, and the networks of some seeds as one function of a graph, compiled once."""
    import jax

    from vita_jax.papers.ss_gcn.export import attacked

    if seeds not in self._made:
      recipe, graph, found = self._parts
      params = jax.tree.map(lambda *xs: np.stack(xs), *(found[seed] for seed in seeds))
      self._made[seeds] = graph, attacked(recipe, graph, params)
    return self._made[seeds]


def _row_of(i: int, x: Any) -> np.ndarray:
  return np.asarray(x[i])


def _cell(row: Row, network: Any, column: Column, results: Path) -> dict[str, Any]:
  """Returns what a column says of a row: shares right on the clean and on the attacked graphs, by seed.

  Like a run's summary, with the metrics "clean" and "robust", and kept like one.
  """
  from vita_jax.attacks.by_name import ADAPTIVE
  from vita_jax.train.config import versions

  config = cli.row_config(row, SEEDS.value)
  seeds = [config.seed + i for i in range(config.seeds)][: column.seeds]
  settings = f"{cli.settings_hash(config)}, {column.name}, {column.targets or 'all'} targets"
  found = load_results(results, settings)
  lacking = [seed for seed in seeds if seed not in found]
  parts = [[seed] for seed in lacking] if column.attack in ADAPTIVE else [lacking] if lacking else []
  for part in parts:
    start = time.monotonic()
    networks = network(tuple(part))
    with cluster.busy("an attack"):
      shares = attacked_shares(*networks, column)
    metrics = {name: summarize(values) for name, values in zip(("clean", "robust"), shares, strict=True)}
    made = {"experiment": "robustness", "versions": versions(), "seconds": time.monotonic() - start}
    made |= {"seeds": part, "steps": [0] * len(part), "frozen": [], "metrics": metrics}
    add_results(results, f"{row.label}: {column.name}", settings, made)
    robust = 100 * metrics["robust"]["mean"]
    print(f"  {column.name}, seeds {part}: {robust:.1f} %", file=sys.stderr, flush=True)
  found = load_results(results, settings)
  return join_summaries([found[seed] for seed in seeds])


def attacked_shares(graph: Any, logits: Any, column: Column) -> tuple[list[float], list[float]]:
  """Attacks networks and returns the share of targets that each has right before, and after."""
  from vita_jax.attacks import by_name, robustness

  targets = np.flatnonzero(graph.test_mask)
  if 0 < column.targets < len(targets):
    targets = np.sort(np.random.default_rng(0).choice(targets, column.targets, replace=False))
  one = by_name.asked(column.attack, column.flip, column.budget)
  classes = graph.labels[targets]
  if one.attack in by_name.WHOLE:
    pairs = by_name.pairs_of(one, graph, logits, targets, graph.labels)
    margins = robustness.margins_whole(logits, graph, pairs, targets, classes, features=False)
  else:
    flips = by_name.flips_of(one, graph, logits, targets, graph.labels)
    margins = robustness.margins(logits, graph, flips, classes, features=False)
  clean, robust = ((found > 0).mean(axis=-1).tolist() for found in margins)
  return clean, robust


def write_tables(
  rows: Sequence[Row], columns: Sequence[Column], cells: Cells, module: Any, workdir: Path
) -> str:
  """Writes robust.md and robust.csv of the cells that are there, and returns the Markdown."""
  shown: dict[tuple[str, str], str] = {}
  against: dict[tuple[str, str], str] = {}
  beside: dict[tuple[str, str], str] = {}
  lines: list[dict[str, Any]] = []
  shares: dict[tuple[str, str], float] = {}
  differences: dict[tuple[str, str], tuple[float, float, float]] = {}
  get_paper = getattr(module, "get_paper", lambda label: {})
  for row in rows:
    paper = get_paper(row.label)
    for column in columns:
      cell = cells.get((row.label, column.name))
      if cell is None:
        continue
      entry, difference = cell["metrics"]["robust"], _difference(row, column, cells)
      if (row.label, "clean") not in shown:
        shown[row.label, "clean"] = format_metric(cell["metrics"]["clean"], percent=True, digits=1)
      shown[row.label, column.name] = format_metric(entry, percent=True, digits=1)
      shares[row.label, column.name] = entry["mean"]
      if difference:
        differences[row.label, column.name] = difference
        mean, low, high = (100 * x for x in difference)
        against[f"{row.label} - {row.baseline}", column.name] = f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"
      known = paper.get((column.flip, column.budget)) if column.attack == "nettack" else None
      if known is not None:
        beside[row.label, column.name] = f"{shown[row.label, column.name]}; {100 * known:.1f} [memory]"
      clean = cell["metrics"]["clean"]["mean"]  # of this column's targets
      numbers = {"clean": clean, "mean": entry["mean"], "std": entry["std"], "paper": known}
      spread = dict(zip(("difference", "low", "high"), difference or (None,) * 3, strict=True))
      values = " ".join(map(repr, entry["values"]))
      lines.append({"row": row.label, **column._asdict(), **numbers, **spread, "values": values})
  parts = [f"# Robust accuracy, %\n\n{grid(shown, corner='row')}"]
  if against:
    parts.append(f"# Paired differences in points, 95 % interval\n\n{grid(against, corner='row')}")
  if beside:
    parts.append(f"# Beside the paper's, as recalled, not verified\n\n{grid(beside, corner='row')}")
  if hasattr(module, "get_bars") and (bars := module.get_bars(shares, differences)):
    parts.append(f"# Bars\n\n{bars}\n")
  text = "\n".join(parts)
  write_text(workdir / "robust.md", text)
  write_text(workdir / "robust.csv", csv_text(lines))
  return text


def _difference(row: Row, column: Column, cells: Cells) -> tuple[float, float, float] | None:
  ours, theirs = (cells.get((label, column.name)) for label in (row.label, row.baseline))
  if ours is None or theirs is None:
    return None
  return pair_runs(ours, theirs, "robust")


if __name__ == "__main__":
  cli.run(main)
