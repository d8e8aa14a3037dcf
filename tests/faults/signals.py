"""Signals at random moments of every paper's smallest run: do the same commands end with the same weights?

  python tests/faults/signals.py --signals=300 --results=signals.jsonl

Each run is hit by KILL, TERM, two TERMs within 0.1 s, HUP, and STOP with CONT, in a random order: four times
out of five within 0.6 s of the beginning of its next save, else within 2 s of its start, while it
compiles or restores. After each signal that ends it the same run is started again; at the end its
weights must be those of an undisturbed run. A line per run and, last, the counts of signals; exit code 1 if
any weights differ. Stopped and started again the command goes on.
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

from faults.trials import RUNS, Run, prepare, run_trials, weights  # noqa: E402

KINDS = ("KILL", "TERM", "double TERM", "HUP", "STOP and CONT")
CODES = {"KILL": {-9}, "TERM": {143, -15}, "double TERM": {143, -15}, "HUP": {129, -1}, "STOP and CONT": {0}}
LAST = {"save_seconds": 5.0}  # of a run that nothing will hit; how often it saves is not what it computes
BAD = ("EXIT", "HANGS", "NOT RESUMED", "DIFFERENT")


def send(run: Run, kind: str, rng: random.Random) -> None:
  """Sends the signals of one kind."""
  if kind == "STOP and CONT":
    run.send(signal.SIGSTOP)
    time.sleep(rng.uniform(0.2, 1))
    run.send(signal.SIGCONT)
    return
  number = {"KILL": signal.SIGKILL, "HUP": signal.SIGHUP}.get(kind, signal.SIGTERM)
  run.send(number)
  if kind == "double TERM":
    time.sleep(rng.uniform(0, 0.1))
    run.send(number)


def wait_for_moment(run: Run, workdir: Path, rng: random.Random) -> None:
  """Returns at a random moment after the next save is begun, or anywhere, or when the process is over."""
  if rng.random() < 0.2:
    time.sleep(rng.uniform(0, 2))
    return
  folder = workdir / "checkpoints"
  before = set(folder.glob("*"))
  while not run.ended() and not set(folder.glob("*")) - before:
    time.sleep(0.005)
  time.sleep(rng.uniform(0, 0.6))


def strike(row: str, whole: bytes, workdir: Path, rng: random.Random) -> tuple[list[str], str]:
  """One run with its signals: (those that were sent, the outcome)."""
  sent: list[str] = []
  run = Run(row, workdir)
  for kind in rng.sample(KINDS, len(KINDS)):
    wait_for_moment(run, workdir, rng)
    if run.ended() or (workdir / "summary.json").exists():
      break
    sent.append(f"{row}, {kind}")
    send(run, kind, rng)
    if kind != "STOP and CONT":
      code, error = run.end()
      if code not in CODES[kind] | {0}:
        return sent, "HANGS" if code is None else f"EXIT {code} after {kind}: {error[-500:]}"
      if code == 0:
        break
      run = Run(row, workdir, **(LAST if len(sent) == len(KINDS) else {}))
  code, error = run.end()
  if code != 0 or "damaged" in error:
    return sent, "HANGS" if code is None else f"NOT RESUMED after {sent}: {error[-500:]}"
  return sent, "identical" if weights(workdir) == whole else f"DIFFERENT after {sent}"


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--signals", type=int, default=300)
  parser.add_argument("--results", type=Path)
  parser.add_argument("--runs", nargs="*", default=list(RUNS), choices=list(RUNS))
  chosen = parser.parse_args()
  prepare()
  expected: dict[str, bytes] = {}
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)

    def undisturbed(row: str) -> bytes:
      if row not in expected:
        code, error = Run(row, folder / row, **LAST).end()
        assert code == 0, f"{row}: {error[-2000:]}"
        expected[row] = weights(folder / row)
      return expected[row]

    def trial(number: int) -> tuple[list[str], str]:
      row, workdir = chosen.runs[number % len(chosen.runs)], folder / "run"
      found = strike(row, undisturbed(row), workdir, random.Random(f"{row} {number}"))
      shutil.rmtree(workdir, ignore_errors=True)
      return found

    return run_trials(chosen.signals, trial, chosen.results, bad=BAD)


if __name__ == "__main__":
  sys.exit(main())
