"""Runs that are cheap enough for hundreds of trials, and trials whose outcomes go to a file.

A run here is a fork of one process that has imported the packages (multiprocessing's fork server): nothing of
JAX is started in that process, so that a fork is what `python` itself would be after its imports. All runs
share a persistent compilation cache, which the first, undisturbed run of each kind fills.
"""

from __future__ import annotations

import atexit
import json
import multiprocessing
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
sys.path[:0] = [str(ROOT), str(TESTS)]

# The smallest config of six papers, and a stream; long enough that five signals hit a run before its end.
RUNS: dict[str, dict[str, Any]] = {
  "digits_stream": {"steps": 1500, "batch_size": 16},
  "ss_gcn_partition": {"epochs": 20_000, "protocol": "best_validation", "log_every": 1000},
  "l2o_dm": {"inner_steps": 1000, "stages": [300, 600]},
  "self_pu_self_paced": {"epochs": 250},
  "pcal": {"steps": 700},
  "bert_tickets_imp": {"steps": 120},
  "adv_logo": {"train.steps": 400},
}
IMPORTED = (
  "faults.trials",
  "laws.table",
  "matplotlib.backends.backend_agg",
  "multiprocess.wide",
  "multiprocess.worker",
  "sklearn.datasets",
  "tensorboardX.proto.event_pb2",
  "tensorboardX.record_writer",
  "vita_jax.papers.adv_logo",
  "vita_jax.papers.bert_tickets",
  "vita_jax.papers.l2o",
  "vita_jax.papers.pcal",
  "vita_jax.papers.self_pu",
  "vita_jax.papers.ss_gcn",
  "vita_jax.train.loop",
)
PATIENCE = 900  # seconds until a run hangs: other jobs may take the cores
_SERVER = multiprocessing.get_context("forkserver")


class Run:
  """A run in a process of its own; what it says on stderr goes to a file."""

  def __init__(self, row: str, workdir: Path, **overrides: Any):
    """Starts training a row of the laws' table in a workdir, saving five times a second."""
    given = {"save_seconds": 0.2, "log_every": 20, **RUNS[row], **overrides}
    flags = [f"--row={row}", f"--workdir={workdir}", f"--overrides={json.dumps(given)}"]
    self._stderr = workdir.parent / f"{workdir.name}.stderr"
    self._process = _SERVER.Process(target=_work, args=(flags, str(self._stderr)))
    self._process.start()
    atexit.register(self._process.kill)  # a command that is stopped leaves no run behind

  def ended(self) -> bool:
    """Whether the process is over."""
    return self._process.exitcode is not None

  def send(self, number: int) -> None:
    """Sends a signal; nothing happens where the process is over."""
    try:
      os.kill(self._process.pid, number)
    except ProcessLookupError:
      pass

  def end(self) -> tuple[int | None, str]:
    """Waits: (exit code, stderr); the code is None where the process had to be killed after `PATIENCE`."""
    self._process.join(PATIENCE)
    code = self._process.exitcode
    if code is None:
      self._process.kill()
      self._process.join()
    return code, self._stderr.read_text(errors="replace") if self._stderr.exists() else ""


def _work(flags: list[str], stderr: str) -> None:
  """What a fork does: the worker's command, as `python tests/multiprocess/worker.py FLAGS` would."""
  for path, number in ((os.devnull, 1), (stderr, 2)):
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, number)
    os.close(handle)
  signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it would be ignored
  from multiprocess import worker

  from vita_jax import cli

  sys.argv = ["worker.py", *flags]
  cli.run(worker.main)


def prepare() -> None:
  """Starts the server of the forks; the first words of a command, before it starts a run."""
  os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(TESTS), os.environ.get("PYTHONPATH", "")])
  settings = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_backend_optimization_level=1 --xla_cpu_multi_thread_eigen=false",
    "JAX_COMPILATION_CACHE_DIR": tempfile.mkdtemp(prefix="vita_jax_programs_"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "VITA_CACHE_DIR": tempfile.mkdtemp(prefix="vita_jax_cache_"),
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
  }
  for name, value in settings.items():
    os.environ.setdefault(name, value)
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is registered with atexit is done
  _SERVER.set_forkserver_preload(list(IMPORTED))


def weights(workdir: Path) -> bytes:
  """What the run exported."""
  return (workdir / "export" / "params.safetensors").read_bytes()


Trial = Callable[[int], tuple[Sequence[str], str]]


def run_trials(n: int, trial: Trial, results: Path | None, *, bad: tuple[str, ...]) -> int:
  """Runs trials 0, 1, ... until `n` things were tried, prints the counts, returns 1 if an outcome is `bad`.

  Args:
    n: how many things.
    trial: number -> (the kinds of what was tried in it, the one outcome of all); the same number gives the
      same trial.
    results: a file of one JSON line per trial, which a further call goes on with; None: nothing is kept.
    bad: beginnings of outcomes that must not be.
  """
  done: dict[int, dict[str, Any]] = {}
  if results and results.exists():
    done = {row["number"]: row for row in map(json.loads, results.read_text().splitlines())}
  number = tried = 0
  while tried < n:
    if number not in done:
      kinds, outcome = trial(number)
      done[number] = {"number": number, "kinds": list(kinds), "outcome": outcome}
      print(f"{number} {'; '.join(kinds)}: {outcome}", flush=True)
      if results:
        with results.open("a") as file:
          file.write(json.dumps(done[number]) + "\n")
    tried += len(done[number]["kinds"])
    number += 1
  counts = Counter((kind, row["outcome"].partition(":")[0]) for row in done.values() for kind in row["kinds"])
  for (kind, outcome), count in sorted(counts.items()):
    print(f"{count:>5}  {kind}: {outcome}")
  return 1 if any(row["outcome"].startswith(bad) for row in done.values()) else 0
