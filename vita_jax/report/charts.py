"""Small charts that any experiment draws: lines, bars, a heat map. Each returns a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def lines(
  points: Mapping[str, Sequence[tuple[float, float]]],
  *,
  x: str,
  y: str,
  x_scale: str = "linear",
  marker: str = "o",
) -> Any:
  """Draws one line with markers for each name, through its (x, y) points in the order of x.

  Args:
    points: name in the legend -> points.
    x: name of the horizontal axis.
    y: name of the vertical axis.
    x_scale: "linear" or "log".
    marker: matplotlib's, at each point; "": none.
  """
  from matplotlib import colormaps
  from matplotlib.figure import Figure
  from matplotlib.ticker import LogLocator, NullLocator

  many = len(points) > 5  # then the legend stands beside, in the order of the lines' ends, and colours differ
  figure = Figure(figsize=(6.5 if many else 4.5, max(3.2, 0.24 * len(points))), layout="constrained")
  axes = figure.add_subplot()
  if many:
    points = dict(sorted(points.items(), key=lambda item: -max(item[1])[1]))
    axes.set_prop_cycle(color=[*colormaps["tab10"](range(10)), *colormaps["Dark2"](range(8))])
  for name, listed in points.items():
    axes.plot(*np.array(sorted(listed)).T, marker=marker, label=name)
  axes.set(xlabel=x, ylabel=y, xscale=x_scale)
  if x_scale == "log":  # 1, 2, 5, 10, 20 rather than powers of ten
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
  place = (1.0, 0.5) if many else None
  axes.legend(frameon=False, loc="center left" if many else "best", bbox_to_anchor=place)
  return figure


def bars(values: Mapping[str, float], *, x: str, limits: tuple[float, float] | None = None) -> Any:
  """Draws a horizontal bar for each name, the first on top; `limits` are those of the value axis."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(5, 1 + 0.16 * len(values)), layout="constrained")
  axes = figure.add_subplot()
  axes.barh(list(values), list(values.values()))
  axes.invert_yaxis()
  axes.tick_params(axis="y", labelsize=6)
  axes.set(xlabel=x, xlim=limits)
  return figure


def heat_maps(
  grids: Mapping[str, np.ndarray], rows: Sequence[str], columns: Sequence[str], *, x: str, y: str, unit: str
) -> Any:
  """Draws matrices side by side on one diverging colour scale around 0, each cell with its number.

  Args:
    grids: title -> float [rows, columns]; NaN cells stay empty.
    rows: their names.
    columns: their names.
    x: what the columns are.
    y: what the rows are.
    unit: name of the colour scale.
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(1.5 + 3.2 * len(grids), 3), layout="constrained")
  known = np.concatenate([grid[np.isfinite(grid)] for grid in grids.values()])
  limit = max(1e-6, np.abs(known).max(initial=0.0))
  for i, (title, grid) in enumerate(grids.items()):
    axes = figure.add_subplot(1, len(grids), i + 1)
    image = axes.imshow(grid, cmap="RdBu", vmin=-limit, vmax=limit)
    for (row, column), value in np.ndenumerate(grid):
      if np.isfinite(value):
        colour = "white" if abs(value) > 0.6 * limit else "black"  # both ends of the scale are dark
        axes.text(column, row, f"{value:+.1f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(title=title, xlabel=x, ylabel=y)
  figure.colorbar(image, ax=figure.axes, label=unit)
  return figure
