"""A disk that is full at a random moment, per kind of file: does the run go on, or end and resume?

  python tests/faults/full_disk.py --moments=20 --results=full_disk.jsonl

Mounts small tmpfs disks, so it needs root. metrics.jsonl, tensorboard and figures: the run completes with
the weights of an undisturbed one. summary.json and checkpoints: exit 1 with one line that names a file, and
the same command resumes to the same weights once there is room. What has not ended after 600 s hangs.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from train.disks import fill, small_disk  # noqa: E402

from faults.trials import command, run_trials, start, weights  # noqa: E402

ROW = "digits_stream"
PATIENCE = 600  # seconds: other jobs may take the cores
SETTINGS = {"log_every": 2, "steps": 600}
KINDS = ("metrics.jsonl", "tensorboard", "figures", "summary.json", "checkpoints")
GO_ON = KINDS[:3]


def prepare(kind: str, disk: Path, workdir: Path, beside: Path) -> None:
  """Puts what may fill up on the disk, and all else beside it."""
  workdir.mkdir(exist_ok=True)
  if kind == "metrics.jsonl":
    (disk / kind).touch()
    (workdir / kind).symlink_to(disk / kind)
  elif kind == "summary.json":  # the whole workdir is on the disk, but for checkpoints, logs and weights
    for name in ("export", "figures", "tensorboard", "checkpoints"):
      (beside / name).mkdir()
      (workdir / name).symlink_to(beside / name)


def end(process) -> tuple[int | None, str]:
  """(exit code, stderr); the code is None where it had to be killed."""
  try:
    return process.wait(PATIENCE), process.stderr.read()
  except subprocess.TimeoutExpired:
    process.kill()
    return None, process.stderr.read()


def one_line(error: str) -> bool:
  """Whether an error is one line with a path in it, without a traceback."""
  lines = [line for line in error.splitlines() if line.startswith("error: ")]
  return len(lines) == 1 and "Traceback" not in error and "/" in lines[0]


def strike(kind: str, whole: bytes, folder: Path, rng: random.Random) -> str:
  """The outcome of one trial."""
  workdir = folder / "W"
  places = {"tensorboard": workdir / kind, "figures": workdir / kind, "metrics.jsonl": folder / "disk"}
  with small_disk(places.get(kind, workdir), kilobytes=2048) as disk:
    (folder / "beside").mkdir()
    prepare(kind, disk, workdir, folder / "beside")
    process = start(command(ROW, workdir, **SETTINGS))
    while process.poll() is None and not (workdir / "metrics.jsonl").exists():
      time.sleep(0.01)
    time.sleep(rng.uniform(0, 2))
    fill(disk)
    code, error = end(process)
    if code is None:
      return f"HANGS: {error[-300:]}"
    if code == 0:
      return "completed, identical" if weights(workdir) == whole else "DIFFERENT"
    if kind in GO_ON:
      return f"STOPPED: {error[-300:]}"
    if not one_line(error):
      return f"UNCLEAR: {error[-500:]}"
    (disk / "filler").unlink()
    code, error = end(start(command(ROW, workdir, **SETTINGS)))
    if code or weights(workdir) != whole:
      return f"NOT RESUMED: {error[-300:]}"
    return "one line, resumed to identical weights"


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--moments", type=int, default=20, help="per kind of file")
  parser.add_argument("--results", type=Path)
  chosen = parser.parse_args()
  with tempfile.TemporaryDirectory() as name:
    root = Path(name)
    first = start(command(ROW, root / "whole", **SETTINGS))
    error = first.communicate()[1]
    assert first.returncode == 0, error[-2000:]
    whole = weights(root / "whole")

    def trial(number: int) -> tuple[str, str]:
      kind, folder = KINDS[number % len(KINDS)], root / str(number)
      outcome = strike(kind, whole, folder, random.Random(number))
      shutil.rmtree(folder, ignore_errors=True)
      return kind, outcome

    bad = ("HANGS", "STOPPED", "UNCLEAR", "NOT RESUMED", "DIFFERENT")
    return run_trials(len(KINDS) * chosen.moments, trial, chosen.results, bad=bad)


if __name__ == "__main__":
  sys.exit(main())
