"""What a comparison of optimizers shows: tables as Markdown and CSV, and the curves."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vita_jax.optim import KINDS
from vita_jax.papers.l2o.comparison import TUNING_SEEDS, Result
from vita_jax.papers.l2o.runs import LEVELS, WINDOW, Entrant
from vita_jax.report.summary import paired_interval, summarize

# Of Okabe and Ito, apart for colour-blind readers; without the yellow, which white paper swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
DASHES = {True: ("-", (0, (8, 2))), False: ((0, (4, 1.5)), (0, (1, 1.2)))}  # learned, classical
DRAWN = 200  # points of a curve, at most


def final(result: Result) -> dict[str, Any]:
  """`summarize` of the final ln loss: diverged seeds are counted and left out of mean and std."""
  return summarize([None if run.diverged else run.ln_loss for run in result.runs])


def accuracy(result: Result) -> dict[str, Any] | None:
  """`summarize` of the held-out accuracy, 0 to 1; None where nothing is classified."""
  if all(math.isnan(run.accuracy) for run in result.runs):
    return None
  return summarize([None if run.diverged else run.accuracy for run in result.runs])


def difference(result: Result, reference: Result | None) -> tuple[float, float, float] | None:
  """Mean and 95 % Student interval of the final ln loss minus the reference's, paired by seed."""
  if reference is None or reference.entrant.label == result.entrant.label:
    return None
  return paired_interval(final(result)["values"], final(reference)["values"])


def microseconds(result: Result) -> float:
  """Wall time per step: the median over runs."""
  return 1e6 * float(np.median([run.seconds for run in result.runs]))


def markdown(results: Sequence[Result], *, reference: str, title: str = "Optimizers") -> str:
  """The final losses of all tasks in one table, then all numbers of each task and the tuning grids.

  Args:
    results: of `comparison.compare`.
    reference: label of the optimizer that the others are compared with.
    title: the heading.
  """
  tasks, labels = _ordered(results)
  at = {(r.task, r.entrant.label): r for r in results}
  rows = [[n, *(_number(final(at[t, n])) if (t, n) in at else "" for t in tasks)] for n in labels]
  parts = [f"# {title}", "Final ln loss.", _table(["optimizer", *tasks], rows)]
  for task in tasks:
    own = [r for r in results if r.task == task]
    header = ["optimizer", "rate", "final ln loss", f"minus {reference} [95 %]", "held-out accuracy %"]
    header += [f"steps to {level:g}" for level in LEVELS]
    header += ["best ln loss", "at step", "µs per step", f"× {reference}"]
    parts += [f"## {task}", _table(header, [_cells(r, at.get((task, reference))) for r in own])]
    if tuned := [r for r in own if r.grid]:
      rates = [f"{rate:g}" for rate in tuned[0].grid]
      rows = [[r.entrant.label, *(_of_grid(r, rate) for rate in r.grid)] for r in tuned]
      parts += ["Loss at each learning rate in tuning (the chosen one in bold):"]
      parts += [_table(["optimizer", *rates], rows)]
  return "\n\n".join([*parts, _notes(results)]) + "\n"


def comma_separated(results: Sequence[Result], *, reference: str) -> str:
  """One row per task and optimizer with plain numbers; lists over seeds, empty for diverged or never."""
  out = io.StringIO()
  writer = csv.writer(out, lineterminator="\n")
  reached = [f"steps_to_{level:g}" for level in LEVELS]
  writer.writerow(
    "task,optimizer,rate,tuned,at_grid_edge,steps,seeds,diverged,ln_loss_mean,ln_loss_std,ln_loss_values,"
    "accuracy_mean,accuracy_std,accuracy_values".split(",")
    + reached
    + "best_ln_loss,best_step,microseconds,time_ratio,reference,difference,difference_low,difference_high,"
    "grid".split(",")
  )
  for r in results:
    of = next((o for o in results if (o.task, o.entrant.label) == (r.task, reference)), None)
    loss, score = final(r), accuracy(r) or {"mean": None, "std": None, "values": []}
    listed = lambda values: " ".join("-" if v is None else repr(v) for v in values)  # noqa: E731
    steps = [" ".join(str(int(run.reached[i]) or "-") for run in r.runs) for i in range(len(LEVELS))]
    best = [listed([x[i] if x[1] else None for x in _bests(r)]) for i in range(2)]
    ratio = microseconds(r) / microseconds(of) if of else None
    writer.writerow(
      [r.task, r.entrant.label, r.rate, bool(r.grid), r.at_edge, int(r.runs[0].steps[-1])]
      + [" ".join(map(str, r.seeds)), loss["diverged"], loss["mean"], loss["std"], listed(loss["values"])]
      + [score["mean"], score["std"], listed(score["values"]), *steps, *best, microseconds(r), ratio]
      + [reference if of else "", *(difference(r, of) or (None,) * 3)]
      + [" ".join(f"{rate:g}:{value:.6g}" for rate, value in r.grid.items())]
    )
  return out.getvalue()


def figure(results: Sequence[Result]) -> Any:
  """A row per task: ln loss against steps and against wall time; mean and population std over seeds.

  Learned optimizers are solid, classical ones dashed. Diverged seeds are counted in the label and drawn
  only where all diverged, until the first is not finite. Returns a matplotlib Figure.
  """
  from matplotlib.figure import Figure

  tasks, labels = _ordered(results)
  entrants = {r.entrant.label: r.entrant for r in results}
  styles = {label: _style(entrants[label], i) for i, label in enumerate(labels)}
  drawing = Figure(figsize=(12.5, 3.7 * len(tasks) + 0.7), layout="constrained")
  drawing.get_layout_engine().set(hspace=0.04, wspace=0.02)
  grid = drawing.subplots(len(tasks), 2, squeeze=False, sharey="row", width_ratios=(1.25, 1))
  for task, (left, right) in zip(tasks, grid, strict=True):
    ends, low, high = [], math.inf, -math.inf
    for r in (r for r in results if r.task == task):
      steps, mean, std = _drawn(r)
      style = styles[r.entrant.label]
      for axes, x in ((left, steps), (right, np.maximum(steps, 1) * microseconds(r) * 1e-6)):
        axes.plot(x, mean, **style)
        axes.fill_between(x, mean - std, mean + std, color=style["color"], alpha=0.15, lw=0)
      shown = mean[np.isfinite(mean)]
      low = min([low, *shown])
      high = max([high, *(math.log(run.first) for run in r.runs if run.first > 0)])
      ends.append((float(shown[-1]) if shown.size else math.nan, _label(r), style["color"]))
    if not math.isfinite(high - low):  # nothing that is finite was seen
      low, high = -1.0, 1.0
    pad = 0.06 * max(high - low, 0.5)
    left.set_ylim(low - pad, high + 3 * pad)  # what goes up leaves: its label stays at the edge
    last = max(int(r.runs[0].steps[-1]) for r in results if r.task == task)
    left.set(xlim=(0, last), ylabel="ln loss", xlabel="steps")
    left.set_title(task, loc="left", fontweight="bold")
    right.set(xscale="log", xlabel="wall time in seconds")
    right.tick_params(labelleft=False)
    _label_ends(left, last, ends)
    for axes in (left, right):
      axes.grid(alpha=0.25, lw=0.6)
      axes.spines[["top", "right"]].set_visible(False)
  handles = [left.plot([], [], label=label, **styles[label])[0] for label in labels]
  drawing.legend(handles=handles, frameon=False, loc="outside upper center", ncols=min(len(labels), 6))
  return drawing


def _ordered(results):
  unique = lambda values: list(dict.fromkeys(values))  # noqa: E731
  return unique(r.task for r in results), unique(r.entrant.label for r in results)


def _style(entrant: Entrant, i: int) -> dict[str, Any]:
  learned, turn = entrant.kind in KINDS, i // len(COLOURS) % 2
  return {"color": COLOURS[i % len(COLOURS)], "lw": 1.8 if learned else 1.3, "ls": DASHES[learned][turn]}


def _drawn(result):
  """(last steps, mean, population std) [points <= 200] over the seeds that did not diverge, else over all."""
  runs = [run for run in result.runs if not run.diverged] or result.runs
  curves = np.stack([run.curve for run in runs]).astype(np.float64)
  edges = np.linspace(0, curves.shape[1], min(DRAWN, curves.shape[1]) + 1).astype(int)
  with np.errstate(invalid="ignore"):  # a line ends where the first seed is not finite
    curves = np.add.reduceat(curves, edges[:-1], axis=1) / np.diff(edges)
    return runs[0].steps[edges[1:] - 1], curves.mean(0), curves.std(0)


def _label(result):
  diverged = sum(run.diverged for run in result.runs)
  rate = f" {result.rate:g}" if result.grid else ""
  return result.entrant.label + rate + (f" ({diverged} of {len(result.runs)} diverged)" if diverged else "")


def _label_ends(axes, x, ends):
  """Labels right of the axes at the height where each curve ends, moved apart until none covers another."""
  low, high = axes.get_ylim()
  gap = (high - low) * 0.058
  wanted = sorted((min(max(y if math.isfinite(y) else high, low), high), label, c) for y, label, c in ends)
  heights = np.array([y for y, _, _ in wanted])
  for _ in range(200):
    close = np.diff(heights) < gap - 1e-9
    if not close.any():
      break
    for i in np.flatnonzero(close):
      push = (gap - (heights[i + 1] - heights[i])) / 2
      heights[i], heights[i + 1] = heights[i] - push, heights[i + 1] + push
    heights -= max(heights[-1] - high, 0.0) * (heights > high - gap * len(heights))
  for height, (y, label, colour) in zip(heights, wanted, strict=True):
    line = {"arrowstyle": "-", "color": colour, "lw": 0.6, "shrinkA": 0, "shrinkB": 0}
    axes.annotate(
      label, (x, y), (1.03, (height - low) / (high - low)), xycoords="data", textcoords="axes fraction",
      color=colour, fontsize=8, va="center", annotation_clip=False, arrowprops=line,
    )  # fmt: skip


def _number(entry, *, scale=1.0, digits=2):
  if entry["mean"] is None:
    return "diverged"
  text = f"{entry['mean'] * scale:.{digits}f}"
  text += f" ± {entry['std'] * scale:.{digits}f}" if len(entry["values"]) - entry["diverged"] > 1 else ""
  return text + (f" ({entry['diverged']} diverged)" if entry["diverged"] else "")


def _steps_to(result, level):
  reached = [int(run.reached[level]) for run in result.runs if run.reached[level]]
  never = len(result.runs) - len(reached)
  if not reached:
    return "never"
  return f"{np.mean(reached):,.0f}" + (f" ({never} never)" if never else "")


def _bests(result):
  return [(run.best_ln_loss, run.best_step) for run in result.runs]


def _cells(result, reference):
  interval, score = difference(result, reference), accuracy(result)
  best = [(value, step) for value, step in _bests(result) if step]
  between = "" if interval is None else "{:+.2f} [{:+.2f}, {:+.2f}]".format(*interval)
  return [
    result.entrant.label,
    "" if result.rate is None else f"{result.rate:g}" + ("*" if result.at_edge else ""),
    _number(final(result)),
    between,
    "" if score is None else _number(score, scale=100, digits=1),
    *(_steps_to(result, i) for i in range(len(LEVELS))),
    f"{np.mean([value for value, _ in best]):.2f}" if best else "none",
    f"{np.mean([step for _, step in best]):,.0f}" if best else "none",
    f"{microseconds(result):,.0f}",
    f"{microseconds(result) / microseconds(reference):.1f}" if reference else "",
  ]


def _of_grid(result, rate):
  text = f"{result.grid[rate]:.3g}" if math.isfinite(result.grid[rate]) else "not finite"
  return f"**{text}**" if rate == result.rate else text


def _table(header, rows):
  widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
  line = lambda row: "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"  # noqa: E731
  return "\n".join([line(header), "|" + "|".join("-" * (w + 2) for w in widths) + "|", *map(line, rows)])


def _notes(results):
  seeds = len(results[0].seeds)
  steps = int(results[0].runs[0].steps[-1])
  notes = [
    f"Final ln loss: mean of ln(loss + 1e-12) over the last {WINDOW} of {steps:,} steps, mean ± population"
    f" std over {seeds} seeds. Diverged: not finite, or more than 1 % above the first loss; such seeds are"
    " counted and left out of the means of loss and accuracy. Steps to a level, and the best: of the running"
    f" {WINDOW}-step mean, mean over the seeds that have it. Differences are paired by seed."
  ]
  if any(r.grid for r in results):
    notes += [
      f"Rates were tuned by the mean loss (not its logarithm) of the last {WINDOW} steps, at the same number"
      f" of steps and over {TUNING_SEEDS} other seeds; * is an edge of the grid: a better rate may lie"
      " outside."
    ]
  if any(r.entrant.kind in ("l2o_dm", "rnnprop") for r in results):
    notes += ["An LSTM optimizer computes about 10 kFLOP per coordinate and step."]
  return "\n\n".join(notes)
