"""A disk that is full at a random moment, per kind of file: does the run go on, or end and resume?

  python tests/faults/full_disk.py --moments=20 --results=full_disk.jsonl

Mounts small tmpfs disks, so it needs root. metrics.jsonl, tensorboard and figures: the run completes with
the weights of an undisturbed one. summary.json and checkpoints: exit 1 with one line that names a file, and
the same command resumes to the same weights once there is room. What has not ended after 900 s hangs.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from train.disks import fill, small_disk  # noqa: E402

from faults.trials import Run, prepare, run_trials, weights  # noqa: E402

ROW = "digits_stream"
SETTINGS = {"log_every": 1, "steps": 200}  # each step is written: the moment is a random number of rows
KINDS = ("metrics.jsonl", "tensorboard", "figures", "summary.json", "checkpoints")
GO_ON = KINDS[:3]
TOO_LATE = "too late"


def place(kind: str, disk: Path, workdir: Path, beside: Path) -> None:
  """Puts what may fill up on the disk, and all else beside it."""
  workdir.mkdir(exist_ok=True)
  if kind == "metrics.jsonl":
    (disk / kind).touch()
    (workdir / kind).symlink_to(disk / kind)
  elif kind == "summary.json":  # the whole workdir is on the disk, but for checkpoints, logs and weights
    for name in ("export", "figures", "tensorboard", "checkpoints"):
      (beside / name).mkdir()
      (workdir / name).symlink_to(beside / name)


def one_line(error: str) -> bool:
  """Whether an error is one line with a path in it, without a traceback."""
  lines = [line for line in error.splitlines() if line.startswith("error: ")]
  return len(lines) == 1 and "Traceback" not in error and "/" in lines[0]


def _rows(log: Path) -> int:
  return log.read_bytes().count(b"\n") if log.exists() else 0


def strike(kind: str, whole: bytes, folder: Path, rng: random.Random) -> str:
  """The outcome of one trial."""
  workdir = folder / "W"
  places = {"tensorboard": workdir / kind, "figures": workdir / kind, "metrics.jsonl": folder / "disk"}
  with small_disk(places.get(kind, workdir), kilobytes=2048) as disk:
    (folder / "beside").mkdir()
    place(kind, disk, workdir, folder / "beside")
    run = Run(ROW, workdir, **SETTINGS)
    rows = rng.randrange(SETTINGS["steps"])
    while not run.ended() and _rows(workdir / "metrics.jsonl") < rows:
      time.sleep(0.005)
    if run.ended() or (workdir / "summary.json").exists():
      return TOO_LATE
    fill(disk)
    code, error = run.end()
    if code is None:
      return f"HANGS: {error[-300:]}"
    if code == 0:
      return "completed, identical" if weights(workdir) == whole else "DIFFERENT"
    if kind in GO_ON:
      return f"STOPPED: {error[-300:]}"
    if not one_line(error):
      return f"UNCLEAR: {error[-500:]}"
    (disk / "filler").unlink()
    code, error = Run(ROW, workdir, **SETTINGS).end()
    if code or weights(workdir) != whole:
      return f"NOT RESUMED: {error[-300:]}"
    return "one line, resumed to identical weights"


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--moments", type=int, default=20, help="per kind of file")
  parser.add_argument("--results", type=Path)
  parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS)
  chosen = parser.parse_args()
  prepare()
  with tempfile.TemporaryDirectory() as name:
    root = Path(name)
    code, error = Run(ROW, root / "whole", **SETTINGS).end()
    assert code == 0, error[-2000:]
    whole = weights(root / "whole")

    def trial(number: int) -> tuple[list[str], str]:
      kind, folder = chosen.kinds[number % len(chosen.kinds)], root / str(number)
      outcome = strike(kind, whole, folder, random.Random(f"{kind} {number}"))
      shutil.rmtree(folder, ignore_errors=True)
      return [kind] if outcome != TOO_LATE else [], outcome

    bad = ("HANGS", "STOPPED", "UNCLEAR", "NOT RESUMED", "DIFFERENT")
    return run_trials(len(chosen.kinds) * chosen.moments, trial, chosen.results, bad=bad)


if __name__ == "__main__":
  sys.exit(main())
