"""One metric of many runs in one figure: against steps and against wall time, a row of panels per task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

# Of Okabe and Ito, apart for colour-blind readers; without the yellow, which white paper swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
DASHES = {False: ("-", (0, (8, 2))), True: ((0, (4, 1.5)), (0, (1, 1.2)))}


class Curve(NamedTuple):
  """A metric over the steps of a run of several seeds.

  Attributes:
    label: what ran; runs of one label share colour and dashes in all panels.
    steps: [n].
    values: float [seeds, n]; NaN where a seed has none.
    seconds: of one step.
    diverged: bool [seeds]; such seeds are counted in the label, and drawn only where all diverged.
    dashed: draws a dashed line.
    note: ends the label beside its line.
  """

  label: str
  steps: np.ndarray
  values: np.ndarray
  seconds: float
  diverged: np.ndarray
  dashed: bool = False
  note: str = ""


def curve(
  rows: Sequence[Mapping[str, Any]], metric: str, label: str, *, seconds: float, diverged: Any, **style: Any
) -> Curve:
  """Makes a `Curve` of a metric from the training rows of a metrics.jsonl.

  Args:
    rows: of `report.rows.read_rows`.
    metric: its name.
    label: see `Curve`.
    seconds: see `Curve`.
    diverged: see `Curve`.
    style: see `Curve`.
  """
  kept = [row for row in rows if row["split"] == "train" and metric in row["metrics"]]
  values = [np.atleast_1d(np.array(row["metrics"][metric], np.float64)) for row in kept]
  steps = np.array([row["step"] for row in kept])
  return Curve(label, steps, np.stack(values, 1), seconds, np.asarray(diverged, bool), **style)


def overlay(panels: Mapping[str, Sequence[Curve]], *, ylabel: str) -> Any:
  """Draws mean and population std over seeds, a row per task: against steps, and against wall time.

  Args:
    panels: task -> its curves.
    ylabel: of the metric.

  Returns:
    A matplotlib Figure.
  """
  from matplotlib.figure import Figure
  from matplotlib.layout_engine import ConstrainedLayoutEngine

  first = {c.label: c for curves in reversed(list(panels.values())) for c in reversed(curves)}
  labels = list(dict.fromkeys(c.label for curves in panels.values() for c in curves))
  styles = {label: _style(first[label], i) for i, label in enumerate(labels)}
  drawing = Figure(
    figsize=(12.5, 3.7 * len(panels) + 0.7), layout=ConstrainedLayoutEngine(hspace=0.04, wspace=0.02)
  )
  grid = drawing.subplots(len(panels), 2, squeeze=False, sharey="row", width_ratios=(1.25, 1))
  for (task, curves), (left, right) in zip(panels.items(), grid, strict=True):
    _draw(task, curves, styles, left, right, ylabel)
  handles = [grid[0, 0].plot([], [], label=label, **styles[label])[0] for label in labels]
  drawing.legend(handles=handles, frameon=False, loc="outside upper center", ncols=min(len(labels), 6))
  return drawing


def _style(curve: Curve, i: int) -> dict[str, Any]:
  dash = DASHES[curve.dashed][i // len(COLOURS) % 2]
  return {"color": COLOURS[i % len(COLOURS)], "lw": 1.3 if curve.dashed else 1.8, "ls": dash}


def _draw(task: str, curves: Sequence[Curve], styles: Mapping, left: Any, right: Any, ylabel: str) -> None:
  ends, shown = [], []
  for c in curves:
    style, values = styles[c.label], c.values if c.diverged.all() else c.values[~c.diverged]
    mean, std = values.mean(0), values.std(0)  # NaN from where the first seed is not finite: the line ends
    for axes, x in ((left, c.steps), (right, c.steps * c.seconds)):
      axes.plot(x, mean, **style)
      axes.fill_between(x, mean - std, mean + std, color=style["color"], alpha=0.15, lw=0)
    finite = mean[np.isfinite(mean)]
    shown.append(finite if not c.diverged.all() else finite[:1])
    ends.append((float(finite[-1]) if finite.size else np.nan, _label(c), style["color"]))
  seen = np.concatenate(shown)
  low, high = (float(seen.min()), float(seen.max())) if seen.size else (-1.0, 1.0)
  pad, last = 0.06 * max(high - low, 0.5), max(int(c.steps[-1]) for c in curves)
  left.set_ylim(low - pad, high + 3 * pad)  # what goes up leaves: its label stays at the edge
  left.set(xlim=(0, last), ylabel=ylabel, xlabel="steps")
  left.set_title(task, loc="left", fontweight="bold")
  right.set(xscale="log", xlabel="wall time in seconds")
  right.tick_params(labelleft=False)
  _label_ends(left, last, ends)
  for axes in (left, right):
    axes.grid(alpha=0.25, lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _label(curve: Curve) -> str:
  n = int(curve.diverged.sum())
  return curve.label + curve.note + (f" ({n} of {curve.diverged.size} diverged)" if n else "")


def _label_ends(axes: Any, x: float, ends: Sequence[tuple[float, str, str]]) -> None:
  """Writes labels right of the axes at the heights where curves end, moved apart until all are legible."""
  low, high = axes.get_ylim()
  gap = (high - low) * 0.058
  wanted = sorted((min(max(y if np.isfinite(y) else high, low), high), label, c) for y, label, c in ends)
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
