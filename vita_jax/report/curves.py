"""The curves of any run, drawn from its metrics.jsonl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vita_jax.report.rows import read_rows


def curves(rows: list[dict[str, Any]]) -> Any:
  """One panel per metric: a line per split against the step, mean and population std over seeds.

  Args:
    rows: rows of metrics.jsonl.

  Returns:
    A matplotlib Figure.
  """
  from matplotlib.figure import Figure

  names = sorted({name for row in rows for name in row["metrics"]})
  figure = Figure(figsize=(4.2 * max(len(names), 1), 3.2), layout="constrained")
  for panel, name in enumerate(names):
    axes = figure.add_subplot(1, len(names), panel + 1)
    for split in sorted({row["split"] for row in rows if name in row["metrics"]}):
      chosen = [r for r in rows if r["split"] == split and name in r["metrics"]]
      values = [np.atleast_1d(np.array(r["metrics"][name], np.float64)) for r in chosen]
      chosen = [(r["step"], v) for r, v in zip(chosen, values, strict=True) if np.isfinite(v).any()]
      steps = np.array([step for step, _ in chosen])
      mean = np.array([np.nanmean(v) for _, v in chosen])
      std = np.array([np.nanstd(v) for _, v in chosen])
      marker = "o" if len(chosen) == 1 else None  # a final eval is a point, which no line shows
      (line,) = axes.plot(steps, mean, label=split, marker=marker)
      axes.fill_between(steps, mean - std, mean + std, color=line.get_color(), alpha=0.2, lw=0)
    axes.set(xlabel="step", ylabel=name)
    axes.legend(frameon=False)
  return figure


def write_figures(workdir: Path, figures: dict[str, Any]) -> None:
  """Writes `figures/<name>.png` for the given figures and for the curves of the run."""
  folder = Path(workdir) / "figures"
  folder.mkdir(exist_ok=True)
  rows = read_rows(Path(workdir) / "metrics.jsonl")
  for name, figure in {"curves": curves(rows), **figures}.items():
    (figure() if callable(figure) else figure).savefig(folder / f"{name}.png", dpi=120)
