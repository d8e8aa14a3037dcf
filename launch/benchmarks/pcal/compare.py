"""PCAL: a whole run, replicated seeds against single ones, and fairlearn's adversarial classifier."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys
import tempfile
import time

from benchmarks.measure import LAUNCH, environment, interleaved, print_table, worker

GAMMAS = 7


def main(*, seeds: int = 5, steps: int = 3000, repeats: int = 5, seconds: float = 5.0) -> None:
  _whole_run(steps)
  many = f"{seeds} seeds at once"
  commands = {"1 seed": ("pcal.steps", "suite", 1), many: ("pcal.steps", "suite", seeds)}
  peers = importlib.util.find_spec("fairlearn") and importlib.util.find_spec("torch")
  if peers:
    commands |= {
      "as fairlearn trains": ("pcal.steps", "peer", 1),
      "fairlearn (torch)": ("pcal.fairlearn_steps",),
    }
  with contextlib.ExitStack() as stack:
    workers = {name: stack.enter_context(worker(*command)) for name, command in commands.items()}
    costs = interleaved(workers, repeats=repeats, seconds=seconds)
    facts = {name: one.facts for name, one in workers.items()}
  rows = [["outer step, suite's settings", "wall ms", "CPU ms", "per seed: wall ms", "CPU ms", "compile s"]]
  for name, n in (("1 seed", 1), (many, seeds)):
    cost = costs[name]
    numbers = [cost.wall, cost.cpu, cost.wall / n, cost.cpu / n]
    rows.append([name, *(f"{1e3 * x:.2f}" for x in numbers), f"{facts[name]['compile_seconds']:.1f}"])
  print_table(f"the game on Taiwan; medians of {repeats} turns of {seconds:g} s", rows)
  # One program per gamma; all have the same shapes, so one compilation serves them through the cache.
  single = GAMMAS * seeds * (steps * costs["1 seed"].wall + facts["1 seed"]["compile_seconds"])
  cached = GAMMAS * seeds * steps * costs["1 seed"].wall + facts["1 seed"]["compile_seconds"]
  swept = GAMMAS * steps * costs[many].wall + facts[many]["compile_seconds"]
  rows = [["sweep", "minutes", "ratio"]]
  for name, total in (
    (f"{GAMMAS} replicated programs, one compilation", swept),
    (f"{GAMMAS * seeds} separate runs, one compilation", cached),
    (f"{GAMMAS * seeds} separate runs, each compiled", single),
  ):
    rows.append([name, f"{total / 60:.1f}", f"{total / swept:.2f}"])
  print_table(
    f"{GAMMAS} gammas x {seeds} seeds of {steps} steps, from the costs above; audits not counted", rows
  )
  if not peers:
    print("  torch and fairlearn are not installed: without their line (pip install torch fairlearn)")
    return
  ours = costs["as fairlearn trains"].per(facts["as fairlearn trains"]["batch"])
  theirs = costs["fairlearn (torch)"].per(facts["fairlearn (torch)"]["samples"])
  rows = [["per sample seen", "wall us", "CPU us", "x fairlearn (CPU)"]]
  for name, cost in (("vita_jax", ours), ("fairlearn", theirs)):
    ratio = f"{theirs.wall / cost.wall:.1f} ({theirs.cpu / cost.cpu:.1f})"
    rows.append([name, f"{1e6 * cost.wall:.2f}", f"{1e6 * cost.cpu:.2f}", ratio])
  print_table("one adversary of 64-64, equal widths and batches of 512", rows)


def _whole_run(steps: int) -> None:
  """Wall seconds of launch/train.py from its start, compilation included, without the audit."""
  code = (
    "import sys, tempfile; from vita_jax import train; from vita_jax.papers import pcal;"
    "from vita_jax.papers.pcal.recipe import default_config;"
    "c = default_config('credit/taiwan', ('limit_high',)); c.steps = int(sys.argv[1]); c.pretrain_steps = 0;"
    "e = pcal.build(c)._replace(report=None); train.run(e, c, tempfile.mkdtemp(), quiet=True)"
  )
  with tempfile.TemporaryDirectory() as cache:
    changed = environment(VITA_CACHE_DIR=cache, JAX_COMPILATION_CACHE_DIR=f"{cache}/xla")
    start = time.perf_counter()
    command = [sys.executable, "-W", "ignore", "-c", code, str(steps)]
    done = subprocess.run(command, env=changed, cwd=LAUNCH.parent, capture_output=True, text=True)
    took = time.perf_counter() - start
  if done.returncode:
    raise RuntimeError((done.stderr.strip().splitlines() or ["the run failed"])[-1])
  print(f"one run of {steps} steps, 4 adversaries x 5 steps, imports and compilation included: {took:.1f} s")
