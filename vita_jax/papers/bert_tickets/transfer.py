"""The transfer matrix: tickets of some tasks, trained on others, as a table and as heat maps."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vita_jax.compress.matching import matches
from vita_jax.report.charts import heat_maps
from vita_jax.report.tables import grid


class Cell(NamedTuple):
  """A ticket of `source`, trained on `target`: `values` over seeds, `full` those of the full model."""

  source: str
  target: str
  sparsity: str
  metric: str
  values: tuple[float, ...]
  full: tuple[float, ...]

  def difference(self) -> float:
    """Computes the mean of the ticket minus the mean of the full model."""
    return float(np.mean(self.values) - np.mean(self.full))

  def matching(self) -> bool | None:
    """Tells whether it matches by the paper's rule; None with a single seed, which has no spread."""
    return matches(self.values, self.full) if min(len(self.values), len(self.full)) > 1 else None


def markdown(cells: Sequence[Cell]) -> str:
  """Writes one matrix for each sparsity: difference to the full model in points, ± the std of the ticket."""
  parts = []
  for sparsity, chosen in _by_sparsity(cells).items():
    full = {
      cell.target: f"{cell.target} ({cell.metric}, full {100 * np.mean(cell.full):.2f})" for cell in chosen
    }
    shown = {(cell.source, full[cell.target]): _shown(cell) for cell in chosen}
    parts += [f"## Tickets of {sparsity} %", "", grid(shown, corner="ticket of \\ trained on")]
  notes = (
    "Metric of the ticket minus that of the full model, times 100; ± population std over seeds. Bold:"
    " matching (mean + std of the ticket reaches the mean of the full model); no mark with a single seed."
  )
  return "\n".join(["# Transfer of tickets", "", *parts, notes, ""])


def comma_separated(cells: Sequence[Cell]) -> str:
  """Writes all cells as CSV, with all values."""
  out = io.StringIO()
  writer = csv.writer(out, lineterminator="\n")
  writer.writerow("source target sparsity metric mean std difference matching values full".split())
  for cell in cells:
    numbers = [float(np.mean(cell.values)), float(np.std(cell.values)), cell.difference()]
    lists = [" ".join(repr(float(v)) for v in values) for values in (cell.values, cell.full)]
    writer.writerow([*cell[:4], *numbers, cell.matching(), *lists])
  return out.getvalue()


def figure(cells: Sequence[Cell]) -> Any:
  """Draws a heat map for each sparsity: points against the full model. Returns a matplotlib Figure."""
  sources = list(dict.fromkeys(cell.source for cell in cells))
  targets = list(dict.fromkeys(cell.target for cell in cells))
  grids = {}
  for sparsity, chosen in _by_sparsity(cells).items():
    values = grids[f"{sparsity} % pruned"] = np.full((len(sources), len(targets)), np.nan)
    for cell in chosen:
      values[sources.index(cell.source), targets.index(cell.target)] = 100 * cell.difference()
  unit = "points against the full model"
  return heat_maps(grids, sources, targets, x="trained on", y="ticket of", unit=unit)


def _by_sparsity(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
  return {s: [c for c in cells if c.sparsity == s] for s in dict.fromkeys(c.sparsity for c in cells)}


def _shown(cell: Cell) -> str:
  text = f"{100 * cell.difference():+.2f} ± {100 * np.std(cell.values):.2f}"
  return f"**{text}**" if cell.matching() else text
