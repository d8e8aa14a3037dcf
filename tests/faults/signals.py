"""Signals at random moments of every paper's smallest run: does the same command end with the same weights?

  python tests/faults/signals.py --signals=300 --results=signals.jsonl

KILL, TERM, two TERMs within 0.1 s, HUP, and STOP with CONT, in turns over the runs of `trials.RUNS`. A line
per signal and, last, the counts; exit code 1 if any weights differ. Stopped and started again it goes on.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.trials import RUNS, command, run_trials, start, weights  # noqa: E402
from vita_jax.train.checkpoint import good_steps  # noqa: E402

KINDS = ("KILL", "TERM", "double TERM", "HUP", "STOP and CONT")
CODES = {"KILL": {-9}, "TERM": {143, -15}, "double TERM": {143, -15}, "HUP": {129, -1}, "STOP and CONT": {0}}


def send(process, kind: str, rng: random.Random) -> None:
  """Sends the signals of one kind."""
  if kind == "KILL":
    process.kill()
  elif kind == "HUP":
    process.send_signal(signal.SIGHUP)
  elif kind == "STOP and CONT":
    process.send_signal(signal.SIGSTOP)
    time.sleep(rng.uniform(0.2, 2))
    process.send_signal(signal.SIGCONT)
  else:
    process.terminate()
    if kind == "double TERM":
      time.sleep(rng.uniform(0, 0.1))
      process.terminate()


def wait_for_moment(process, workdir: Path, moment: float) -> None:
  """Returns `moment` seconds after the first checkpoint, or when the process has ended."""
  while process.poll() is None and not good_steps(workdir / "checkpoints"):
    time.sleep(0.005)
  time.sleep(moment)


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--signals", type=int, default=300)
  parser.add_argument("--results", type=Path)
  parser.add_argument("--runs", nargs="*", default=list(RUNS), choices=list(RUNS))
  chosen = parser.parse_args()
  expected: dict[str, bytes] = {}
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)

    def undisturbed(row: str) -> bytes:
      if row not in expected:
        process = start(command(row, folder / row))
        error = process.communicate()[1]
        assert process.returncode == 0, f"{row}: {error[-2000:]}"
        expected[row] = weights(folder / row)
      return expected[row]

    def trial(number: int) -> tuple[str, str]:
      rng = random.Random(number)
      row, kind = chosen.runs[number % len(chosen.runs)], KINDS[number // len(chosen.runs) % len(KINDS)]
      whole, workdir = undisturbed(row), folder / "run"
      shutil.rmtree(workdir, ignore_errors=True)
      process = start(command(row, workdir))
      wait_for_moment(process, workdir, rng.uniform(0, 1.5))
      if (workdir / "summary.json").exists():
        process.communicate()
        return f"{kind}, {row}", "too late"
      send(process, kind, rng)
      error = process.communicate()[1]
      if process.returncode not in CODES[kind] | {0}:
        return f"{kind}, {row}", f"EXIT {process.returncode}: {error[-300:]}"
      if process.returncode:
        again = start(command(row, workdir))
        error = again.communicate()[1]
        if again.returncode or "damaged" in error:
          return f"{kind}, {row}", f"NOT RESUMED: {error[-300:]}"
      return f"{kind}, {row}", "identical" if weights(workdir) == whole else "DIFFERENT"

    return run_trials(chosen.signals, trial, chosen.results, bad=("EXIT", "NOT RESUMED", "DIFFERENT"))


if __name__ == "__main__":
  sys.exit(main())
