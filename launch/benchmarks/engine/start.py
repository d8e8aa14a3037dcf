"""How long a user waits: for `import vita_jax`, and for the first finished step of a training run."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import LAUNCH, Cost, environment, middle, print_table

IMPORTS = {
  "import jax": "import jax",
  "import jax, vita_jax": "import jax, vita_jax",
  "import jax, flax.linen, optax, orbax.checkpoint": "import jax, flax.linen, optax, orbax.checkpoint",
  "import vita_jax.train": "import vita_jax.train",
  "import vita_jax.train, vita_jax.papers.ss_gcn": "import vita_jax.train, vita_jax.papers.ss_gcn",
}


def main(*, repeats: int = 5) -> None:
  costs: dict[str, list[Cost]] = {name: [] for name in IMPORTS}
  for _ in range(repeats):
    for name, code in IMPORTS.items():
      costs[name].append(_cost([sys.executable, "-c", code]))
  base = middle(costs["import jax"])
  rows = [["fresh process", "wall s", "CPU s", "beyond jax: wall s", "CPU s"]]
  for name, found in costs.items():
    wall, cpu = middle(found)
    rows.append([name, f"{wall:.2f}", f"{cpu:.2f}", f"{wall - base.wall:+.2f}", f"{cpu - base.cpu:+.2f}"])
  print_table(f"imports; medians of {repeats} fresh processes", rows)
  first: dict[str, list[float]] = {"cold compilation cache": [], "warm compilation cache": []}
  for _ in range(repeats):
    with tempfile.TemporaryDirectory() as folder:
      for name in first:
        first[name].append(_first_step(Path(folder)))
  rows = [["launch/train.py, Citeseer, 1 seed", "s to the first step"]]
  rows += [[name, f"{sorted(found)[len(found) // 2]:.2f}"] for name, found in first.items()]
  print_table(f"from the start of the process to the first row of metrics.jsonl; medians of {repeats}", rows)


def _cost(command: list[str]) -> Cost:
  before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
  subprocess.run(command, env=environment(), check=True)
  wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
  return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _first_step(folder: Path) -> float:
  """Seconds until `train.py` has written its first row; caches are in `folder`, the workdir is new."""
  with tempfile.TemporaryDirectory(dir=folder) as workdir:
    rows = Path(workdir) / "metrics.jsonl"
    config = f"--config={LAUNCH.parent / 'configs/ss_gcn/citeseer.py'}"
    script = str(LAUNCH / "train.py")
    command = [sys.executable, script, config, "--config.log_every=1", f"--workdir={workdir}"]
    start = time.perf_counter()
    process = subprocess.Popen(
      command,
      env=environment(VITA_CACHE_DIR=str(folder)),
      stdout=subprocess.DEVNULL,
      stderr=subprocess.PIPE,
      text=True,
    )
    try:
      while not (rows.exists() and rows.stat().st_size):
        if process.poll() is not None:
          raise RuntimeError(f"launch/train.py failed: {process.stderr.read().strip()}")
        time.sleep(0.005)
      return time.perf_counter() - start
    finally:
      process.kill()
      process.wait()
