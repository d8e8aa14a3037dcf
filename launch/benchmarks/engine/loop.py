"""What the loop costs beyond the bare compiled steps.

Both sides run in this process, in turns: `train.run` (logs, TensorBoard, progress lines and checkpoints as
the config says), and one `jax.jit` of a `lax.fori_loop` over the same batches and the same step. `train.run`
is timed from its call to the call of `report`, once for a short run and once for one that is `n` steps
longer: in the difference compilation, the first and the last save cancel. Report and figures are left out.
Many short turns: a shared machine's speed drifts by a tenth within a minute, and one long turn would show
that. The fastest turns say most: what else a machine does only adds.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.measure import LAUNCH, Cost, now, print_table, since
from vita_jax import train
from vita_jax.data.resident import batch_at
from vita_jax.papers import ss_gcn
from vita_jax.papers.ss_gcn.recipe import default_config

SHORT = 400  # steps of the short run: the pace of the loop has settled by then


def main(*, seconds: float = 10.0, repeats: int = 6) -> None:
  with tempfile.TemporaryDirectory() as folder:
    # `train.run` compiles anew in every call: the second one should find its programs.
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    for name, (experiment, config) in _experiments().items():
      measured = _compare(experiment, config, Path(folder), seconds, repeats)
      header = ["log_every", "steps", "bare µs/step", "wall: median", "wall: fastest", "CPU: median"]
      title = f"{name}: train.run beyond a bare jitted loop of the same step; {repeats} turns"
      print_table(title, [header, [str(config.log_every), *measured]])


def _experiments() -> dict[str, tuple[train.Experiment, object]]:
  config = default_config("citeseer", "none", {})
  config.epochs = 2**31 - 2
  found = {"SS-GCN, Citeseer, 1 seed": (ss_gcn.build(config), config)}
  tests = LAUNCH.parent / "tests"
  if not (tests / "laws" / "digits.py").exists():
    return found
  sys.path.insert(0, str(tests))
  digits = importlib.import_module("laws.digits")
  for log_every in (train.base_config().log_every, 1000):
    config = digits.get_config()
    config.log_every = log_every
    found[f"digits MLP, {log_every} steps per row"] = digits.build(config), config
  return found


def _compare(experiment, config, folder: Path, seconds: float, repeats: int) -> list[str]:
  bare, run = _bare(experiment), _run(experiment, config)
  bare(SHORT)
  n = max(SHORT, round(seconds / bare(SHORT).per(SHORT).wall))
  run(SHORT, folder / "first")  # fills the compilation cache
  ours, bares, cpu = [], [], []
  for turn in range(repeats):
    calls = [lambda: bare(n), lambda: run(SHORT, folder / "short"), lambda: run(SHORT + n, folder / "long")]
    order = (0, 1, 2) if turn % 2 == 0 else (2, 1, 0)
    found = {i: calls[i]() for i in order}
    ours.append(found[2].wall - found[1].wall)
    bares.append(found[0].wall)
    cpu.append((found[2].cpu - found[1].cpu) / found[0].cpu - 1)
  paired = median(o / b for o, b in zip(ours, bares, strict=True)) - 1
  fastest = min(ours) / min(bares) - 1
  speed = median(bares) / n * 1e6
  return [str(n), f"{speed:.1f}", f"{paired:+.2%}", f"{fastest:+.2%}", f"{median(cpu):+.2%}"]


def _bare(experiment: train.Experiment) -> Callable[[int], Cost]:
  """`bare(n)`: `n` steps from the start, in one call of a jitted loop that computes every metric."""
  stage = experiment.stages[0]
  arrays = jax.device_put(stage.data.arrays)
  state = jax.jit(experiment.init)(jax.random.key(0))
  seed = jnp.uint32(0)

  @jax.jit
  def steps(state, arrays, n):
    def body(t, carry):
      state, _ = carry
      return stage.step(state, batch_at(stage.data, arrays, seed, t), t)

    shapes = jax.eval_shape(lambda s: body(jnp.int32(0), (s, None))[1], state)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return jax.lax.fori_loop(0, n, body, (state, zeros))

  def bare(n: int) -> Cost:
    start = now()
    jax.block_until_ready(steps(state, arrays, np.int32(n)))
    return since(start)

  return bare


def _run(experiment: train.Experiment, config) -> Callable[[int, Path], Cost]:
  """`run(n, folder)`: `train.run` of `n` steps in a new workdir, timed until its report."""

  def run(n: int, folder: Path) -> Cost:
    spent = []

    def report(state, evaluate, sweep):
      del state, evaluate
      spent.append(since(start))
      return train.Report({})

    stage = experiment.stages[0]._replace(steps=n, done=train.never)
    one = experiment._replace(stages=(stage,), evals={}, report=report, export=None)
    with tempfile.TemporaryDirectory(prefix=folder.name, dir=folder.parent) as workdir:
      start = now()
      train.run(one, config, workdir)
    return spent[0]

  return run
