"""Curves with a band: the mean of a number, over seeds or draws, and its spread or its error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def band_figure(
  curves: Mapping[str, Mapping[float, Sequence[float]]],
  *,
  xlabel: str,
  ylabel: str,
  mark: float,
  mark_label: str,
) -> Any:
  """Draws one curve per label, mean and population std over seeds in percent, and a vertical line.

  Args:
    curves: label -> setting -> values (fractions), one per seed.
    xlabel: name of the horizontal axis.
    ylabel: name of the vertical axis.
    mark: where the vertical line stands.
    mark_label: what it says.

  Returns:
    A matplotlib Figure.
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(5, 3.2), layout="constrained")
  axes = figure.add_subplot()
  for label, curve in curves.items():
    mean, std = (np.array([f(v) for v in curve.values()]) * 100 for f in (np.mean, np.std))
    (line,) = axes.plot(list(curve), mean, "o-", label=label)
    axes.fill_between(list(curve), mean - std, mean + std, color=line.get_color(), alpha=0.2, lw=0)
  axes.axvline(mark, color="0.6", lw=1, label=mark_label)
  axes.set(xlabel=xlabel, ylabel=ylabel)
  axes.legend(frameon=False)
  return figure


def error_bands(curves: Mapping[str, np.ndarray], *, xlabel: str, ylabel: str) -> Any:
  """Draws one curve per label, the mean of each row of values [n, m] and one standard error of it.

  Args:
    curves: label -> values; those without values are left out.
    xlabel: name of the horizontal axis, the number of the row.
    ylabel: name of the vertical axis.

  Returns:
    A matplotlib Figure.
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(5, 3), layout="constrained")
  axes = figure.add_subplot()
  for label, values in curves.items():
    if values.size:
      mean, error = values.mean(axis=1), values.std(axis=1) / np.sqrt(values.shape[1])
      axes.plot(mean, label=label)
      axes.fill_between(np.arange(len(mean)), mean - error, mean + error, alpha=0.2)
  axes.set(xlabel=xlabel, ylabel=ylabel)
  axes.legend(frameon=False)
  return figure
