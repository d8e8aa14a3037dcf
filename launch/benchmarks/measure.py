"""Clocks, workers and tables: what the measurements share. Light: a parent process imports nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

LAUNCH = Path(__file__).resolve().parents[1]
# Where vita_jax itself is found in a checkout; an installed one needs no help.
PATH = [LAUNCH, *([LAUNCH.parent] if (LAUNCH.parent / "vita_jax").is_dir() else [])]


class Cost(NamedTuple):
  """Seconds on the clock, and of all cores together."""

  wall: float
  cpu: float

  def per(self, units: float) -> Cost:
    """Returns the cost of one of `units` equal parts."""
    return Cost(self.wall / units, self.cpu / units)


def now() -> Cost:
  """Reads the clocks of this process; differences are costs."""
  return Cost(time.perf_counter(), time.process_time())


def since(start: Cost) -> Cost:
  """Returns what was spent since `start = now()`."""
  end = now()
  return Cost(end.wall - start.wall, end.cpu - start.cpu)


def fastest(call: Callable[[], Any], *, repeats: int = 5) -> float:
  """Measures seconds, the least of some repeats after one that compiles: others only ever add to it."""
  call()
  found = []
  for _ in range(repeats):
    start = time.perf_counter()
    call()
    found.append(time.perf_counter() - start)
  return min(found)


def middle(costs: Sequence[Cost]) -> Cost:
  """Medians of wall and CPU seconds, each by itself."""
  return Cost(median(c.wall for c in costs), median(c.cpu for c in costs))


def command(module: str, *arguments: Any) -> list[str]:
  """Returns the command of a process that runs `benchmarks/<folder>/<file>.py`, named `folder.file`."""
  return [sys.executable, "-W", "ignore", "-m", f"benchmarks.{module}", *map(str, arguments)]


def environment(**changes: str) -> dict[str, str]:
  """Returns the environment of such a process: it finds `benchmarks`, and vita_jax in a checkout."""
  path = [*map(str, PATH), os.environ.get("PYTHONPATH", "")]
  return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in path if p), **changes}


def answer(module: str, *arguments: Any) -> Any:
  """Runs a process that prints one line of JSON, and returns it.

  Raises:
    RuntimeError: the process failed; with the last line of its stderr.
  """
  done = subprocess.run(command(module, *arguments), env=environment(), capture_output=True, text=True)
  if done.returncode:
    raise RuntimeError(_last_line(done.stderr))
  return json.loads(done.stdout)


class Worker(NamedTuple):
  """A process that waits until it is asked for a number of units; `facts` is what it said of itself."""

  process: subprocess.Popen
  facts: dict[str, Any]


def serve(run: Callable[[int], Any], **facts: Any) -> None:
  """Answers, in the worker, each number of units on stdin with what they cost, until stdin ends."""
  print(json.dumps(facts), flush=True)
  for line in sys.stdin:
    start = now()
    run(int(line))
    print(json.dumps(since(start)), flush=True)


@contextlib.contextmanager
def worker(module: str, *arguments: Any) -> Iterator[Worker]:
  """Starts the process of `command` and waits until it is ready (compiled, warmed up).

  Raises:
    RuntimeError: it failed before; with the last line of its stderr.
  """
  pipe = subprocess.PIPE
  process = subprocess.Popen(
    command(module, *arguments), env=environment(), stdin=pipe, stdout=pipe, stderr=pipe, text=True
  )
  try:
    first = process.stdout.readline()
    if not first:
      raise RuntimeError(_last_line(process.stderr.read()))
    yield Worker(process, json.loads(first))
  finally:
    process.stdin.close()
    process.kill()
    process.wait()


def ask(one: Worker, units: int) -> Cost:
  """Returns what one unit costs, measured over `units` of them.

  Raises:
    RuntimeError: the worker failed on the way; with the last line of its stderr.
  """
  one.process.stdin.write(f"{units}\n")
  one.process.stdin.flush()
  line = one.process.stdout.readline()
  if not line:
    raise RuntimeError(_last_line(one.process.stderr.read()))
  return Cost(*json.loads(line)).per(units)


def interleaved(workers: Mapping[str, Worker], *, repeats: int, seconds: float) -> dict[str, Cost]:
  """Returns the median cost of a unit of each worker, over `repeats` turns of about `seconds` each.

  The workers take turns, in one order and then in the other, so that whatever else the machine does
  falls on all of them; while one works the others wait.
  """
  units = {name: max(1, round(seconds / ask(one, 3).wall)) for name, one in workers.items()}
  found: dict[str, list[Cost]] = {name: [] for name in workers}
  for turn in range(repeats):
    for name in list(workers) if turn % 2 == 0 else list(workers)[::-1]:
      found[name].append(ask(workers[name], units[name]))
  return {name: middle(costs) for name, costs in found.items()}


def print_table(title: str, rows: Sequence[Sequence[str]]) -> None:
  """Prints rows (the first is the header) in aligned columns."""
  widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
  print(f"\n{title}")
  for row in rows:
    cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
    print("  " + "  ".join(cells), flush=True)


def _last_line(text: str) -> str:
  return (text.strip().splitlines() or ["a benchmark process ended without a word"])[-1]
