"""Optimizers under equal budgets: any mixture of learned and tuned classical ones, on any optimizees.

  results = compare(["rnnprop-cl-il", "mine=runs/mine/export", "adam", "sgd:0.1"], ["digits_mlp"], steps=1000)

A classical optimizer without a rate is tuned on each task: of `GRID`, the rate with the lowest mean loss over
the last 100 steps and `TUNING_SEEDS` optimizations of the full length. Tuning draws from streams of its own.
In the reported runs a seed gives every optimizer the same x_0 and minibatches: differences are paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from vita_jax.base.choose import choose
from vita_jax.optim import KINDS, learned_names
from vita_jax.optim.library import SHIPPED, read_learned
from vita_jax.papers.l2o.optimizees import OPTIMIZEES
from vita_jax.papers.l2o.programs import CLASSICAL, images_of
from vita_jax.papers.l2o.runs import REPORT, TUNING, WINDOW, Entrant, Job, Protocol, Run, run_all

GRID = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
TUNING_SEEDS = 3
UNTRAINED = {f"untrained-{kind.removeprefix('l2o_')}": kind for kind in KINDS}  # controls: they must do badly


class Result(NamedTuple):
  """An optimizer on a task: one run per seed; `grid` has rate -> mean loss in tuning (inf: not finite)."""

  task: str
  entrant: Entrant
  rate: float | None
  grid: Mapping[float, float]
  seeds: tuple[int, ...]
  runs: tuple[Run, ...]

  @property
  def at_edge(self) -> bool:
    """Whether the tuned rate is the smallest or largest of the grid: a better one may lie outside."""
    return bool(self.grid) and self.rate in (min(self.grid), max(self.grid))


def compare(optimizers: Sequence[str | Entrant], names: Sequence[str], **options: Any) -> list[Result]:
  """`each_result` as a list."""
  return list(each_result(optimizers, names, **options))


def each_result(
  optimizers: Sequence[str | Entrant],
  names: Sequence[str],
  *,
  steps: int = 10_000,
  seeds: int = 5,
  seed: int = 0,
  split: str = "test",
  batch_size: int = 128,
  logit_relu: bool = False,
  store: str | Path | None = None,
  log: Callable[[str], None] = lambda text: None,
) -> Iterator[Result]:
  """Runs every optimizer on every task and yields a result as soon as it is complete, tasks outside.

  Args:
    optimizers: as `entrant` reads them.
    names: tasks, of `OPTIMIZEES`.
    steps: of every optimization, in tuning, too; at least 100.
    seeds, seed: reports the seeds `seed ... seed + seeds - 1`.
    split: that the optimizee is fitted to, "test" (as the paper does) or "train"; accuracy is measured on
      the other one.
    batch_size: of the minibatches, drawn afresh and with replacement at each step.
    logit_relu: of `optimizee`.
    store: folder that keeps every run; what it has is not computed again.
    log: told the progress.

  Raises:
    ValueError: unknown optimizer, task or split, a label twice, or a number that cannot be.
    FileNotFoundError: missing data or weights.
  """
  if steps < WINDOW:
    raise ValueError(f"steps is {steps}: it has to be at least {WINDOW}, which the final loss is a mean of")
  if min(seeds, batch_size) < 1 or not 0 <= seed <= seed + seeds <= 2**31:
    raise ValueError(f"seeds ({seeds}) and batch_size ({batch_size}) have to be at least 1, seed ({seed}) 0")
  choose("split", split, ("test", "train"))
  entrants = [entrant(o) if isinstance(o, str) else o for o in optimizers]
  labels = [e.label for e in entrants]
  for listed, what in ((labels, "optimizer"), (list(names), "task")):
    if not listed:
      raise ValueError(f"no {what} is given")
    if twice := [name for name in listed if listed.count(name) > 1]:
      raise ValueError(f"{what} '{twice[0]}' is given twice: labels have to be unique")
  for name in names:  # before hours of the first task
    choose("task", name, tuple(OPTIMIZEES))
    images_of(OPTIMIZEES[name].data, split)
  protocol, reported = Protocol(steps, split, batch_size, logit_relu), tuple(range(seed, seed + seeds))
  options = {"store": store, "log": log}
  return (_result(name, e, reported, protocol, options) for name in names for e in entrants)


def entrant(text: str) -> Entrant:
  """Reads an optimizer: a shipped name, LABEL=FOLDER of an export, "adam" (tuned), "adam:0.001" (fixed rate),
  or "untrained-dm" (the first weights of key 0).

  Raises:
    ValueError: none of these; names the nearest.
    FileNotFoundError: no such folder.
  """
  label, equals, folder = text.partition("=")
  if equals and not (label and folder):
    raise ValueError(f"optimizer '{text}': an exported one is given as LABEL=FOLDER")
  name, colon, rate = text.partition(":")
  if name in CLASSICAL and not equals:
    return _classical(name, rate) if colon else Entrant(name, name)
  if text in UNTRAINED:
    return Entrant(text, UNTRAINED[text], KINDS[UNTRAINED[text]].init_theta(jax.random.key(0)))
  if not equals:
    names = (*learned_names(), *CLASSICAL, *UNTRAINED)
    try:
      label, folder = text, SHIPPED / choose("optimizer", text, names)
    except ValueError as error:
      raise ValueError(f"{error}; or LABEL=FOLDER of an export, or a rate as in adam:0.001") from error
  kind, theta, options = read_learned(folder)
  return Entrant(label, kind, theta, tuple(sorted(options.items())))


def _classical(name: str, rate: str) -> Entrant:
  try:
    value = float(rate)
  except ValueError:
    value = math.nan
  if not (math.isfinite(value) and value > 0):
    raise ValueError(f"optimizer '{name}:{rate}': the rate has to be a positive number, as in adam:0.001")
  return Entrant(f"{name}:{value:g}", name, rate=value)


def _result(task, entrant, seeds, protocol, options) -> Result:
  rate, grid = entrant.rate, {}
  if entrant.kind in CLASSICAL and rate is None:
    jobs = [Job(rate, TUNING, seed) for rate in GRID for seed in range(TUNING_SEEDS)]
    losses = np.array([run.loss for run in run_all(task, entrant, jobs, protocol, **options)])
    means = losses.reshape(len(GRID), TUNING_SEEDS).mean(1)
    grid = dict(zip(GRID, np.where(np.isfinite(means), means, np.inf).tolist(), strict=True))
    rate = min(grid, key=grid.get)
    options["log"](f"{task}, {entrant.label}: tuned to a learning rate of {rate:g}")
  runs = run_all(task, entrant, [Job(rate, REPORT, seed) for seed in seeds], protocol, **options)
  return Result(task, entrant, rate, grid, seeds, tuple(runs))
