"""kill -9 at random moments, then the same command to its end: are the weights those of an undisturbed run?

  python tests/faults/kills.py --kills=200

Half of the runs are SS-GCN's (compiled chunks of Resident data), half stream digits; every third kill waits
until a checkpoint is half written. Prints a line per kill and, last, the counts; exit code 1 if any differs.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from launch.commands import environment, training  # noqa: E402
from laws.small_graph import write_small_graph  # noqa: E402

from vita_jax.train.checkpoint import good_steps  # noqa: E402


def commands(folder: Path) -> dict[str, list[str]]:
  """name -> command but for the workdir; runs of a second or two that save five times a second."""
  graph = write_small_graph(folder / "graph.npz")
  settings = {"epochs": 8000, "protocol": "best_validation", "save_seconds": 0.2, "log_every": 500}
  flags = training(graph, "WORKDIR", **settings, steps_per_call=100)
  stream = '{"steps": 1500, "save_seconds": 0.2}'
  return {
    "ss_gcn": ["launch/train.py", *(f for f in flags if not f.startswith("--workdir"))],
    "stream": ["tests/multiprocess/worker.py", "--row=digits_stream", f"--overrides={stream}"],
  }


def start(command: list[str], workdir: Path) -> subprocess.Popen:
  quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
  return subprocess.Popen(
    [sys.executable, *command, f"--workdir={workdir}"], cwd=ROOT, env=environment(), text=True, **quiet
  )


def weights(workdir: Path) -> bytes:
  return (workdir / "export" / "params.safetensors").read_bytes()


def unfinished(workdir: Path) -> bool:
  """Whether a checkpoint is being written: orbax gives it its plain number only at the end."""
  return any(not p.name.isdigit() for p in (workdir / "checkpoints").glob("*"))


def strike(process: subprocess.Popen, workdir: Path, *, in_save: bool, moment: float) -> None:
  """Kills the process `moment` seconds after its first checkpoint, or inside the next save."""
  while process.poll() is None and not good_steps(workdir / "checkpoints"):
    time.sleep(0.005)
  time.sleep(moment)
  while in_save and process.poll() is None and not unfinished(workdir):
    pass
  process.kill()
  process.communicate()


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--kills", type=int, default=200)
  parser.add_argument("--seed", type=int, default=0)
  chosen = parser.parse_args()
  random.seed(chosen.seed)
  counts, done = Counter(), 0
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    each = commands(folder)
    expected = {}
    for kind, command in each.items():
      assert start(command, folder / kind).wait() == 0, kind
      expected[kind] = weights(folder / kind)
    while done < chosen.kills:
      kind = ("ss_gcn", "stream")[done % 2]
      workdir, in_save = folder / "run", done % 3 == 0
      process = start(each[kind], workdir)
      strike(process, workdir, in_save=in_save, moment=random.uniform(0, 0.8))
      if (workdir / "summary.json").exists():  # it was too late
        counts["too late, not counted"] += 1
      else:
        done += 1
        torn = unfinished(workdir)
        again = start(each[kind], workdir)
        error = again.communicate()[1]
        fine = again.returncode == 0 and weights(workdir) == expected[kind] and "damaged" not in error
        counts[
          f"{kind}, {'inside a save' if torn else 'between saves'}: {'identical' if fine else 'DIFFERENT'}"
        ] += 1
        print(
          f"{done} {kind} {'torn save' if torn else ''} {'identical' if fine else error[-500:]}", flush=True
        )
      shutil.rmtree(workdir)
  for what, count in sorted(counts.items()):
    print(f"{count:>5}  {what}")
  return 1 if any("DIFFERENT" in what for what in counts) else 0


if __name__ == "__main__":
  sys.exit(main())
