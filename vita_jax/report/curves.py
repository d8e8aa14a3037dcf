"""The curves of any run, drawn from its metrics.jsonl."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vita_jax.report.pictures import save_figure
from vita_jax.report.rows import SPLITS, read_rows, split_of

COLUMNS = 3


def curves(rows: list[dict[str, Any]]) -> Any:
  """Draws one panel per metric: a line per split against the step, mean and population std over seeds.

  A metric of the training rows called `validation_loss` is the line `validation` of the panel `loss`. What
  never changes gets no panel.

  Args:
    rows: of metrics.jsonl.

  Returns:
    A matplotlib Figure with at most three panels beside each other.
  """
  from matplotlib.figure import Figure

  panels = {name: lines for name, lines in _lines(rows).items() if _changes(lines)}
  n_rows = max(1, -(-len(panels) // COLUMNS))
  n_columns = max(1, min(COLUMNS, len(panels)))
  figure = Figure(figsize=(4.4 * n_columns, 3.3 * n_rows), layout="constrained")
  colours = {split: f"C{i}" for i, split in enumerate(SPLITS)}  # one split, one colour, in every panel
  for number, name in enumerate(panels):
    axes = figure.add_subplot(n_rows, n_columns, number + 1)
    for split, points in panels[name].items():
      _draw(axes, split, points, colours.setdefault(split, f"C{len(colours)}"))
    axes.set(xlabel="step", ylabel=name.replace("_", " "))
    axes.legend(frameon=False)
  if not panels:
    figure.text(0.5, 0.5, "no metric changed", ha="center", va="center")
  return figure


Points = list[tuple[int, np.ndarray]]  # (step, one value per seed)


def _lines(rows: list[dict[str, Any]]) -> dict[str, dict[str, Points]]:
  """metric -> split -> points; losses first, then by name; train before validation before test."""
  found: dict[str, dict[str, Points]] = {}
  for row in rows:
    for metric, value in row["metrics"].items():
      split, name = split_of(row["split"], metric)
      values = np.atleast_1d(np.array(value, np.float64))
      if np.isfinite(values).any():
        found.setdefault(name, {}).setdefault(split, []).append((row["step"], values))
  names = sorted(found, key=lambda name: (name != "loss", "loss" not in name, name))
  order = {split: i for i, split in enumerate(SPLITS)}
  return {
    name: {s: sorted(found[name][s], key=_step) for s in sorted(found[name], key=lambda s: order.get(s, 3))}
    for name in names
  }


def _step(point: tuple[int, np.ndarray]) -> int:
  return point[0]


def _changes(lines: Mapping[str, Points]) -> bool:
  """Whether any line has two different values: a single point is in summary.json, and no curve."""
  return any(len({float(np.nanmean(v)) for _, v in points}) > 1 for points in lines.values())


def _draw(axes: Any, split: str, points: Points, colour: str) -> None:
  steps = np.array([step for step, _ in points])
  mean = np.array([np.nanmean(values) for _, values in points])
  std = np.array([np.nanstd(values) for _, values in points])
  seeds = max(len(values) for _, values in points)
  label = split if seeds == 1 else f"{split} (mean ± std, {seeds} seeds)"
  # An eval at a stage's end is a point, which no line shows.
  axes.plot(steps, mean, label=label, color=colour, marker="o" if len(points) == 1 else None)
  axes.fill_between(steps, mean - std, mean + std, color=colour, alpha=0.2, lw=0)


def write_figures(workdir: Path, figures: Mapping[str, Any], *, warn: Callable[[str], None] = print) -> None:
  """Writes `figures/<name>.png` for the given figures and for the curves of the run.

  Args:
    workdir: of the run.
    figures: name -> matplotlib Figure, or a function that draws one.
    warn: gets one line for each that cannot be drawn or written; the others are written all the same.
  """
  folder = Path(workdir) / "figures"

  def draw_curves() -> Any:
    return curves(read_rows(Path(workdir) / "metrics.jsonl"))

  for name, figure in {"curves": draw_curves, **figures}.items():

    def draw(figure: Any = figure) -> Any:
      folder.mkdir(exist_ok=True)
      return figure() if callable(figure) else figure

    save_figure(folder / f"{name}.png", draw, warn=warn)
