"""Optimizers under equal budgets: any mixture of learned and tuned classical ones, on any optimizees.

Every optimization is a row of a suite (`vita_jax.report.suite.Row`) over configs/l2o/optimize.py. A classical
optimizer without a rate is tuned on each task: of a grid, the rate with the lowest mean loss over the last
100 steps and some optimizations of the full length, on other random streams than the reported ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vita_jax.base.choose import choose
from vita_jax.data.images import load_images
from vita_jax.optim.by_name import (
  CLASSICAL,
  SCHEDULES,
  UNTRAINED,
  classical,
  digest,
  needs_rate,
  read_optimizer,
)
from vita_jax.optim.library import learned_names
from vita_jax.optim.optimizees import FLOOR, OPTIMIZEES, WINDOW, optimizee
from vita_jax.report.overlay import Curve, curve, overlay
from vita_jax.report.rows import read_rows
from vita_jax.report.suite import Row
from vita_jax.report.summary import paired_interval

GRID = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
LEVELS = (-1.0, -2.0, -3.0)  # of ln loss
MARGIN = 1.01  # a run diverged when it ends above this times its first loss; a dead network did not
BESIDE = ("accuracy", "best_ln_loss", "best_step", "steps", "microseconds")
Summary = Mapping[str, Any]


class Entrant(NamedTuple):
  """An optimizer to compare.

  Attributes:
    label: unique name in the table.
    name: for `by_name.read_optimizer`.
    rate: learning rate of a classical one, None to tune it; 0 of a learned one that needs none.
    sha256: of a learned one's weights.
  """

  label: str
  name: str
  rate: float | None = 0.0
  sha256: str = ""


class Protocol(NamedTuple):
  """What is equal for all optimizers.

  Attributes:
    steps: of every optimization, in tuning, too; at least 100.
    seeds, seed: reports the seeds `seed ... seed + seeds - 1`.
    split: "test" (as the paper does) or "train": what is fitted; accuracy is measured on the other one.
    batch_size, logit_relu: of the optimizee.
    grid: rates that are tried.
    tuning_seeds: optimizations with each of them.
    schedule: of all rates, "constant" or "cosine" to 0 at the last step.
    replicate: seeds side by side ("vmap") or one after the other ("map", which a CPU's caches like).
  """

  steps: int = 10_000
  seeds: int = 5
  seed: int = 0
  split: str = "test"
  batch_size: int = 128
  logit_relu: bool = False
  grid: tuple[float, ...] = GRID
  tuning_seeds: int = 3
  schedule: str = "constant"
  replicate: str = "map"


class Result(NamedTuple):
  """A finished row; `grid` has rate -> mean loss in tuning (inf: not finite) of a tuned optimizer."""

  task: str
  entrant: Entrant
  row: Row
  summary: Summary
  rate: float
  grid: Mapping[float, float] = {}

  @property
  def at_edge(self) -> bool:
    """Whether the tuned rate is the smallest or largest of the grid: a better one may lie outside."""
    return bool(self.grid) and self.rate in (min(self.grid), max(self.grid))


def entrant(text: str) -> Entrant:
  """Reads an optimizer: a shipped name, LABEL=FOLDER of an export, "adam" or any of optax (tuned),
  "adam:0.001" (fixed rate), or "untrained-dm" (the first weights of key 0).

  Learned ones that need a rate are tuned, too.

  Raises:
    ValueError: none of these; names the nearest.
    FileNotFoundError: no such folder.
  """
  label, equals, folder = text.partition("=")
  if equals and (not (label and folder) or " " in label):
    raise ValueError(f"optimizer '{text}': an exported one is given as LABEL=FOLDER")
  name, colon, rate = text.partition(":")
  if not equals and (classical(name) or (name in (*learned_names(), *UNTRAINED) and needs_rate(name))):
    sha = "" if classical(name) or name in UNTRAINED else digest(read_optimizer(name, 1.0))
    return _with_rate(name, rate, sha) if colon else Entrant(name, name, None, sha)
  if not equals:
    try:
      label, folder = text, choose("optimizer", text, (*learned_names(), *CLASSICAL, *UNTRAINED))
    except ValueError as error:
      raise ValueError(f"{error}; or LABEL=FOLDER of an export, or a rate as in adam:0.001") from error
  path = folder if not equals or "/" in folder else f"./{folder}"  # never a shipped name
  rated = needs_rate(path)
  return Entrant(label, path, None if rated else 0.0, digest(read_optimizer(path, 1.0 if rated else 0.0)))


def _with_rate(name: str, rate: str, sha256: str) -> Entrant:
  try:
    value = float(rate)
  except ValueError:
    value = math.nan
  if not (math.isfinite(value) and value > 0):
    raise ValueError(f"optimizer '{name}:{rate}': the rate must be a positive number, as in adam:0.001")
  return Entrant(f"{name}:{value:g}", name, value, sha256)


def compare(
  entrants: Sequence[Entrant],
  names: Sequence[str],
  protocol: Protocol,
  *,
  run: Callable[[Row], Summary],
  reference: str = "",
) -> Iterator[Result]:
  """Runs every optimizer on every task and yields a result as soon as it is complete, tasks outside.

  Args:
    entrants: the optimizers.
    names: tasks, of `OPTIMIZEES` or as "package.module:function".
    protocol: what is equal for all.
    run: `row -> summary` of a run that is complete (`cli.run_row`).
    reference: label of the optimizer that the others are paired with; "" for none.

  Raises:
    ValueError: unknown task, a label twice, or a number that cannot be.
    FileNotFoundError: missing images.
  """
  check(entrants, names, protocol)
  return (_result(task, e, protocol, run, reference) for task in names for e in entrants)


def check(entrants: Sequence[Entrant], names: Sequence[str], protocol: Protocol) -> None:
  """Refuses what cannot be compared before anything runs; raises as `compare` does."""
  if protocol.steps < WINDOW:
    raise ValueError(
      f"steps is {protocol.steps}: it must be at least {WINDOW}, which the final loss averages"
    )
  seeds, size, seed = protocol.seeds, protocol.batch_size, protocol.seed
  if min(seeds, size, protocol.tuning_seeds) < 1 or not 0 <= seed <= seed + seeds <= 2**31:
    raise ValueError(
      f"seeds ({seeds}), tuning_seeds ({protocol.tuning_seeds}) and batch_size ({size}) must be at least 1,"
      f" seed ({seed}) 0"
    )
  if not protocol.grid or not all(math.isfinite(rate) and rate > 0 for rate in protocol.grid):
    raise ValueError(f"the rates {protocol.grid} must be positive numbers")
  choose("split", protocol.split, ("test", "train"))
  choose("schedule", protocol.schedule, SCHEDULES)
  labels = [e.label for e in entrants]
  for listed, what in ((labels, "optimizer"), (list(names), "task")):
    if not listed:
      raise ValueError(f"no {what} is given")
    if twice := [name for name in listed if listed.count(name) > 1]:
      raise ValueError(f"{what} '{twice[0]}' is given twice: labels must be unique")
  for name in names:  # before hours of the first task
    if ":" not in name:
      choose("task", name, tuple(OPTIMIZEES))
    if data := optimizee(name).data:
      load_images(data)


def report_row(task: str, one: Entrant, protocol: Protocol, rate: float, *, reference: str = "") -> Row:
  """Returns the row of an optimizer's reported runs, paired with those of the reference."""
  timed = max(1, min(100, protocol.steps))
  baseline = f"{task} {reference}" if reference not in ("", one.label) else ""
  return Row(
    f"{task} {one.label}",
    f"configs/l2o/optimize.py:{task}",
    {**_overrides(one, protocol, rate), "seed": protocol.seed, "run.timed_steps": timed},
    metric="ln_loss",
    baseline=baseline,
    beside=BESIDE,
  )


def tuning_row(task: str, one: Entrant, protocol: Protocol, rate: float) -> Row:
  """Returns the row of the runs that try a rate."""
  overrides = {"run.draws": "tuning", "seed": 0, "seeds": protocol.tuning_seeds}
  label = f"{task} {one.label} tuning {rate:g}"
  return Row(
    label, f"configs/l2o/optimize.py:{task}", _overrides(one, protocol, rate) | overrides, metric="loss"
  )


def _overrides(one: Entrant, protocol: Protocol, rate: float) -> dict[str, Any]:
  return {
    "seeds": protocol.seeds,
    "replicate": protocol.replicate,
    "log_every": max(1, protocol.steps // 200),
    "optimizee.batch_size": protocol.batch_size,
    "optimizee.logit_relu": protocol.logit_relu,
    "run.optimizer": one.name,
    "run.learning_rate": float(rate),
    "run.schedule": protocol.schedule,
    "run.sha256": one.sha256,
    "run.steps": protocol.steps,
    "run.split": protocol.split,
  }


def _result(
  task: str, one: Entrant, protocol: Protocol, run: Callable[[Row], Summary], reference: str
) -> Result:
  rate, grid = one.rate, {}
  if rate is None:
    grid = {r: mean_loss(run(tuning_row(task, one, protocol, r))) for r in sorted(protocol.grid)}
    rate = min(grid, key=grid.__getitem__)
  row = report_row(task, one, protocol, rate, reference=reference)
  return Result(task, one, row, run(row), rate, grid)


def mean_loss(summary: Summary) -> float:
  """Computes the mean final loss (not its logarithm) over the seeds; inf where one is not finite."""
  values = summary["metrics"]["loss"]["values"]
  return math.inf if None in values else sum(values) / len(values)


def tuning_text(results: Sequence[Result]) -> str:
  """Returns Markdown of the loss at each rate that was tried, the chosen one in bold; "" where none was."""
  lines = []
  for r in (r for r in results if r.grid):
    cells = [
      f"{rate:g}: {loss:.3g}" if math.isfinite(loss) else f"{rate:g}: not finite"
      for rate, loss in r.grid.items()
    ]
    cells = [f"**{c}**" if rate == r.rate else c for c, rate in zip(cells, r.grid, strict=True)]
    edge = "; at the edge: a better rate may lie outside" if r.at_edge else ""
    lines.append(f"- {r.task} {r.entrant.label}: {', '.join(cells)}{edge}")
  if not lines:
    return ""
  about = (
    f"Loss at each rate in tuning, mean over the last {WINDOW} steps, on other seeds; the chosen rate in"
    " bold:"
  )
  return "\n".join(["", about, "", *lines, ""])


def notes(results: Sequence[Result]) -> str:
  """Returns the text that ends a table: what its numbers are, and the tuning."""
  text = (
    f"\nln_loss: mean of ln(loss + 1e-12) over the last {WINDOW} steps. Diverged: not finite, or more than"
    " 1 % above the first loss; such seeds are counted and left out of the means. accuracy: on the split that"
    f" is not fitted. best_ln_loss: of the running {WINDOW}-step mean. microseconds: per step, timed after"
    " the run; compilation does not count.\n"
  )
  learned = any(not classical(r.entrant.name) for r in results)
  cost = "\nAn LSTM optimizer computes about 10 kFLOP per coordinate and step.\n" if learned else ""
  return text + tuning_text(results) + cost


def figure(results: Sequence[Result], workdir: str | Path) -> Any:
  """Draws ln loss against steps and wall time, a row per task; runs are read from `workdir`.

  Learned optimizers are solid, classical ones dashed. Returns a matplotlib Figure.
  """
  panels: dict[str, list[Curve]] = {}
  for r in results:
    panels.setdefault(r.task, []).append(
      curve_of(r, workdir, dashed=bool(classical(r.entrant.name)), note=f" {r.rate:g}" if r.grid else "")
    )
  return overlay(panels, ylabel="ln loss")


def curve_of(result: Result, workdir: str | Path, **style: Any) -> Curve:
  """Reads the curve of ln loss of a result's run in `workdir`; `style` as in `overlay.Curve`."""
  metrics = result.summary["metrics"]
  return curve(
    read_rows(Path(workdir) / result.row.folder / "metrics.jsonl"),
    "ln_loss",
    result.entrant.label,
    seconds=1e-6 * float(np.median(metrics["microseconds"]["values"])),
    diverged=[value is None for value in metrics["ln_loss"]["values"]],
    **style,
  )


def at_equal_seconds(results: Sequence[Result], workdir: str | Path) -> str:
  """Returns Markdown of ln loss where each optimizer has used the seconds that the quickest one took in all.

  Mean, and difference from the first optimizer of the table, paired by seed, with its 95 % interval; from the
  logged curves, so of windows of some steps. Compilation does not count.
  """
  lines = ["", "At equal seconds:", "", "| task | optimizer | seconds | steps | ln loss | minus the first |"]
  lines.append("|---" * 6 + "|")
  for task in dict.fromkeys(r.task for r in results):
    curves = [curve_of(r, workdir) for r in results if r.task == task]
    budget = min(c.seconds * c.steps[-1] for c in curves)
    first = None
    for c in curves:
      inside = max(int((c.steps * c.seconds <= budget * (1 + 1e-9)).sum()) - 1, 0)
      values = np.where(c.diverged, np.nan, c.values[:, inside])
      first = values if first is None else first
      found = paired_interval(_counted(values), _counted(first))
      difference = ""
      if found and c is not curves[0]:
        difference = f"{found[0]:+.3f} [{found[1]:+.3f}, {found[2]:+.3f}]"
      cells = (
        task,
        c.label,
        f"{budget:.3g}",
        f"{c.steps[inside]:,}",
        f"{np.nanmean(values):.3f}",
        difference,
      )
      lines.append("| " + " | ".join(cells) + " |")
  if any(r.row.overrides["run.schedule"] != "constant" for r in results):
    lines += ["", "Rates decay over whole runs: those that are cut short have not come to the end of it."]
  return "\n".join([*lines, ""])


def _counted(values: np.ndarray) -> list[float | None]:
  return [float(v) if np.isfinite(v) else None for v in values]


def record(
  results: Sequence[Result], protocol: Protocol, before: Sequence[Summary] = ()
) -> list[dict[str, Any]]:
  """Returns JSON-able results, a row each; those of `before`, an earlier call's, that are not run again stay.

  A row is the same one where task, label, schedule, steps, split and batch size are.
  """
  same = ("task", "optimizer", "schedule", "steps", "split", "batch_size")
  rows = [
    {
      "task": r.task,
      "optimizer": r.entrant.label,
      "schedule": protocol.schedule,
      "steps": protocol.steps,
      "split": protocol.split,
      "batch_size": protocol.batch_size,
      "seed": protocol.seed,
      "tuning_seeds": protocol.tuning_seeds if r.grid else 0,
      "rate": r.rate,
      "grid": {f"{rate:g}": loss if math.isfinite(loss) else None for rate, loss in r.grid.items()},
      "values": {name: entry["values"] for name, entry in r.summary["metrics"].items()},
    }
    for r in results
  ]
  new = {tuple(row[name] for name in same) for row in rows}
  return [dict(row) for row in before if tuple(row[name] for name in same) not in new] + rows


def numbers(first: float, losses: np.ndarray) -> dict[str, float]:
  """Computes the numbers of one optimization.

  Args:
    first: loss at x_0.
    losses: float64 [steps >= 100], NaN from where the parameters were not finite.

  Returns:
    "loss" and "ln_loss": means over the last 100 steps of the loss and of ln(loss + 1e-12). It diverged where
    it is not finite, or ends more than 1 % above its first loss: then "ln_loss" is NaN.
    "best_ln_loss" and "best_step": lowest running 100-step mean of ln loss, and the step where it ends.
    "steps": how many there were.
    "steps_to_-1", ...: first step whose running mean is at most that level; NaN for never.
  """
  logs = np.log(losses + FLOOR)
  running = np.lib.stride_tricks.sliding_window_view(logs, WINDOW).mean(1)
  running = np.where(np.isfinite(running), running, np.inf)
  best, loss = int(running.argmin()), float(losses[-WINDOW:].mean())
  ln_loss, any_finite = float(logs[-WINDOW:].mean()), bool(np.isfinite(running[best]))
  diverged = not (math.isfinite(ln_loss) and loss <= MARGIN * first)
  found = {
    "ln_loss": math.nan if diverged else ln_loss,
    "loss": loss,
    "best_ln_loss": float(running[best]) if any_finite else math.nan,
    "best_step": best + WINDOW if any_finite else math.nan,
    "steps": len(losses),
  }
  for level in LEVELS:
    below = running <= level
    found[f"steps_to_{level:g}"] = int(below.argmax()) + WINDOW if below.any() else math.nan
  return found
