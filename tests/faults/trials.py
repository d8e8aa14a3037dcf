"""Numbered trials whose outcomes go to a file: a command that was stopped goes on where it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from laws.table import ROWS  # noqa: E402

# The runs that are long enough to be hit in their middle: the smallest of each paper, and a stream.
RUNS = {name: row.long for name, row in ROWS.items() if row.long}


def command(row: str, workdir: Path, **overrides) -> list[str]:
  """The command that trains a row of the laws' table in a workdir, saving five times a second."""
  given = json.dumps({"save_seconds": 0.2, "log_every": 20, **ROWS[row].long, **overrides})
  return [
    sys.executable,
    "tests/multiprocess/worker.py",
    f"--row={row}",
    f"--workdir={workdir}",
    f"--overrides={given}",
  ]


def start(arguments: list[str]) -> subprocess.Popen:
  """Starts a command with this checkout's code; its stderr is kept."""
  path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
  quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
  return subprocess.Popen(arguments, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, text=True, **quiet)


def weights(workdir: Path) -> bytes:
  """What the run exported."""
  return (workdir / "export" / "params.safetensors").read_bytes()


def run_trials(
  n: int, trial: Callable[[int], tuple[str, str]], results: Path | None, *, bad: tuple[str, ...]
) -> int:
  """Runs `trial(number) -> (kind, outcome)` for 0 ... n-1, prints the counts, returns 1 if one is `bad`.

  Args:
    n: how many.
    trial: one of them; the same number gives the same trial.
    results: a file of one JSON line per trial, which a further call goes on with; None: nothing is kept.
    bad: beginnings of outcomes that must not be.
  """
  done = {}
  if results and results.exists():
    done = {row["number"]: row for row in map(json.loads, results.read_text().splitlines())}
  for number in range(n):
    if number in done:
      continue
    kind, outcome = trial(number)
    done[number] = {"number": number, "kind": kind, "outcome": outcome}
    print(f"{number + 1}/{n} {kind}: {outcome}", flush=True)
    if results:
      with results.open("a") as file:
        file.write(json.dumps(done[number]) + "\n")
  counts = Counter((done[number]["kind"], done[number]["outcome"].partition(":")[0]) for number in range(n))
  for (kind, outcome), count in sorted(counts.items()):
    print(f"{count:>5}  {kind}: {outcome}")
  return 1 if any(outcome.startswith(bad) for _, outcome in counts) else 0
