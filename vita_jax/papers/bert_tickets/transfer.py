"""The transfer matrix: tickets of some tasks, trained on others, as a table and as a heat map."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vita_jax.papers.bert_tickets.matching import matches


class Cell(NamedTuple):
  """A ticket of `source`, trained on `target`: `values` over seeds, `full` those of the full model."""

  source: str
  target: str
  sparsity: str
  metric: str
  values: tuple[float, ...]
  full: tuple[float, ...]

  def difference(self) -> float:
    """Mean of the ticket minus mean of the full model."""
    return float(np.mean(self.values) - np.mean(self.full))

  def matching(self) -> bool | None:
    """By the paper's rule (see `matching`); None with a single seed, which has no spread."""
    return matches(self.values, self.full) if min(len(self.values), len(self.full)) > 1 else None


def markdown(cells: Sequence[Cell]) -> str:
  """One matrix for each sparsity: difference to the full model in points, ± the std of the ticket."""
  parts = []
  for sparsity in dict.fromkeys(cell.sparsity for cell in cells):
    chosen = [cell for cell in cells if cell.sparsity == sparsity]
    grid, sources, targets = _grid(chosen)
    full = {
      cell.target: f"{cell.target} ({cell.metric}, full {100 * np.mean(cell.full):.2f})" for cell in chosen
    }
    lines = [["ticket of \\ trained on", *(full[t] for t in targets)]]
    lines += [[s, *(_shown(grid.get((s, t))) for t in targets)] for s in sources]
    rows = ["| " + " | ".join(line) + " |" for line in lines]
    rule = "|" + " --- |" * len(lines[0])
    parts.append("\n".join([f"## Tickets of {sparsity} %", "", rows[0], rule, *rows[1:], ""]))
  notes = (
    "Metric of the ticket minus that of the full model, times 100; ± population std over seeds. Bold:"
    " matching (mean + std of the ticket reaches the mean of the full model); no mark with a single seed."
  )
  return "\n".join(["# Transfer of tickets", "", *parts, notes, ""])


def comma_separated(cells: Sequence[Cell]) -> str:
  """All cells as CSV, with all values."""
  out = io.StringIO()
  writer = csv.writer(out, lineterminator="\n")
  writer.writerow(
    ["source", "target", "sparsity", "metric", "mean", "std", "difference", "matching", "values", "full"]
  )
  for cell in cells:
    numbers = [np.mean(cell.values), np.std(cell.values), cell.difference()]
    lists = [" ".join(map(repr, map(float, values))) for values in (cell.values, cell.full)]
    writer.writerow([*cell[:4], *map(float, numbers), cell.matching(), *lists])
  return out.getvalue()


def figure(cells: Sequence[Cell]) -> Any:
  """A heat map for each sparsity, its colour the difference to the full model. A matplotlib Figure."""
  from matplotlib.figure import Figure

  sparsities = list(dict.fromkeys(cell.sparsity for cell in cells))
  drawing = Figure(figsize=(1.5 + 3.2 * len(sparsities), 3), layout="constrained")
  limit = max(1e-6, max(abs(100 * cell.difference()) for cell in cells))
  for i, sparsity in enumerate(sparsities):
    grid, sources, targets = _grid([cell for cell in cells if cell.sparsity == sparsity])
    axes = drawing.add_subplot(1, len(sparsities), i + 1)
    values = [[100 * grid[s, t].difference() if (s, t) in grid else np.nan for t in targets] for s in sources]
    image = axes.imshow(values, cmap="RdBu", vmin=-limit, vmax=limit)
    for row, line in enumerate(values):
      for column, value in enumerate(line):
        if np.isfinite(value):
          colour = "white" if abs(value) > 0.6 * limit else "black"  # both ends of the scale are dark
          axes.text(column, row, f"{value:+.1f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(targets)), targets)
    axes.set_yticks(range(len(sources)), sources)
    axes.set(title=f"{sparsity} % pruned", xlabel="trained on", ylabel="ticket of")
  drawing.colorbar(image, ax=drawing.axes, label="points against the full model")
  return drawing


def _grid(cells) -> tuple[Mapping[tuple[str, str], Cell], list[str], list[str]]:
  grid = {(cell.source, cell.target): cell for cell in cells}
  return grid, list(dict.fromkeys(c.source for c in cells)), list(dict.fromkeys(c.target for c in cells))


def _shown(cell: Cell | None) -> str:
  if cell is None:
    return ""
  text = f"{100 * cell.difference():+.2f} ± {100 * np.std(cell.values):.2f}"
  return f"**{text}**" if cell.matching() else text
