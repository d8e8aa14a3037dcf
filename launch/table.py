"""Runs, resumes or reuses the rows of a suite, and writes the table: ours beside the paper's.

  python launch/table.py --suite=configs/ss_gcn/table.py --workdir=runs/table [--seeds=50] [--rows=REGEX]

Writes table.md, table.csv and table.png into the workdir; each row is a run in a folder of its own, or with
--split=N several, of N seeds each, so that a row of many hours can be computed in parts. A suite may have a
text `HEADER`, shown above the table (what a reader must know of its protocol), and a function
`finish(summaries, workdir)`, called with the summaries of finished rows by label, for figures of its own; the
Markdown that it returns ends the table.

--results=FILE keeps the values of all finished runs in one small file as well (`vita_jax.report.results`): a
table of many hours goes on from it on another machine. results/PAPER/TABLE.jsonl, where it is there, has
those of a README's table, which the command then prints again without training.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from vita_jax import cli
from vita_jax.base.choose import nearest
from vita_jax.base.files import write_text
from vita_jax.report import suite
from vita_jax.report.pictures import save_figure
from vita_jax.train import cluster

SUITE = flags.DEFINE_string("suite", None, "Python file with get_suite() -> tuple of Row.", required=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the table and its runs.", required=True)
SEEDS = flags.DEFINE_integer(
  "seeds", None, "Number of seeds of every row; default: as the suite says.", lower_bound=1
)
SPLIT = flags.DEFINE_integer("split", 0, "Seeds of one run, where a row has more; 0: all.", lower_bound=0)
RESULTS = flags.DEFINE_string(
  "results", None, "File of finished runs, which are not run again; those that finish are added."
)
ROWS = flags.DEFINE_string("rows", "", "Only the rows whose label matches this regular expression.")
limits = cli.define_watchdog()


def main() -> None:
  cluster.start_watchdog(**limits())
  path = cli.find_suite(SUITE.value)
  module = cli.load_python(path)
  if not hasattr(module, "get_suite"):
    what = "a config, for launch/train.py --config" if hasattr(module, "get_config") else "no suite"
    remedy = "a suite defines get_suite(), see configs/<paper>/table.py"
    raise ValueError(f"--suite={SUITE.value} is {what}: {remedy}")
  with cli.faults_of(path):
    rows = module.get_suite()
  if not (isinstance(rows, tuple | list) and rows and all(isinstance(row, suite.Row) for row in rows)):
    raise ValueError(
      f"--suite={SUITE.value}: get_suite() must return a tuple of vita_jax.report.suite.Row, at least one"
    )
  rows = chosen_rows(rows, ROWS.value)
  workdir, summaries = Path(WORKDIR.value), {}
  workdir.mkdir(parents=True, exist_ok=True)
  for i, row in enumerate(rows):
    print(f"[{i + 1}/{len(rows)}] {row.label}", file=sys.stderr, flush=True)
    summaries[row.label] = cli.run_row(
      row, workdir, seeds=SEEDS.value, split=SPLIT.value, results=RESULTS.value
    )
    # After every row: a stopped table shows what it has.
    text = write_table(rows, summaries, workdir, module)
  print(text)
  print(f"written: {workdir}/table.md, table.csv, table.png; runs: {workdir}/<row>/")


def chosen_rows(rows: Sequence[suite.Row], pattern: str) -> list[suite.Row]:
  """Returns the rows whose label matches; labels must be unique.

  Raises:
    ValueError: a label twice, a bad pattern, or no match.
  """
  labels = [row.label for row in rows]
  if len(set(labels)) < len(labels):
    raise ValueError(f"the suite has a label twice: {sorted(x for x in labels if labels.count(x) > 1)[0]}")
  try:
    kept = [row for row in rows if re.search(pattern, row.label)]
  except re.error as error:
    raise ValueError(f"--rows='{pattern}' is not a regular expression: {error}") from error
  if not kept:
    near = nearest(pattern, labels, cutoff=0.0)
    raise ValueError(f"--rows='{pattern}' matches none, nearest: '{near}'; there are: {', '.join(labels)}")
  return kept


def write_table(rows: Sequence[suite.Row], summaries: dict[str, Any], workdir: Path, module: Any) -> str:
  """Writes table.md, table.csv, table.png and what the suite's own `finish` makes; returns the Markdown."""
  lines = suite.make_lines(rows, summaries)
  title = Path(SUITE.value).parent.name
  text = suite.markdown(lines, title=title, header=getattr(module, "HEADER", ""))
  if hasattr(module, "finish"):
    text += module.finish(summaries, workdir)
  write_text(workdir / "table.md", text)
  write_text(workdir / "table.csv", suite.comma_separated(lines))
  save_figure(workdir / "table.png", functools.partial(suite.figure, lines, title=title))
  return text


if __name__ == "__main__":
  cli.run(main)
