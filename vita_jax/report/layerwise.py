"""The decisions of a controller of learning rates: as a table, and drawn, layers against steps."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

# As `vita_jax.optim.layerwise` has them, on which reports do not stand.
OBSERVED = ("loss", "kl", "progress", "head_mean", "head_std")


def policy_csv(trace: Mapping[str, np.ndarray], names: tuple[str, ...]) -> str:
  """Writes a line for each decision: step, what was observed (means over the window before), multipliers."""
  text = io.StringIO()
  text.write(",".join(["step", *OBSERVED, *names]) + "\n")
  for step, seen, rates in zip(trace["step"], trace["observation"], trace["multipliers"], strict=True):
    text.write(",".join([str(int(step)), *(f"{x:.6g}" for x in seen), *(f"{x:.1f}" for x in rates)]) + "\n")
  return text.getvalue()


def read_policy(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
  """Reads what `policy_csv` wrote: steps int [decisions], multipliers [decisions, groups], groups' names.

  Raises:
    ValueError: not such a file.
  """
  first, *lines = Path(path).read_text().splitlines()
  names, known = tuple(first.split(",")), ("step", *OBSERVED)
  if names[: len(known)] != known or not lines:
    raise ValueError(f"{path} is no list of decisions: its first line begins with {','.join(known)}")
  try:
    values = np.array([line.split(",") for line in lines], float)
  except ValueError as error:
    raise ValueError(f"{path} is damaged: {error}") from error
  return values[:, 0].astype(int), values[:, len(known) :], names[len(known) :]


def policy_figure(step: np.ndarray, multipliers: np.ndarray, names: tuple[str, ...]) -> Any:
  """Draws the multipliers of every layer group over training: a matplotlib Figure.

  Args:
    step: int [decisions].
    multipliers: [decisions, groups], 0 to 1.
    names: of the groups, from the input on.
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(7, 1 + 0.5 * len(names)), layout="constrained")
  axes = figure.add_subplot()
  edges = np.append(step, 2 * step[-1] - step[-2] if len(step) > 1 else step[-1] + 1)
  drawn = axes.pcolormesh(edges, np.arange(len(names) + 1), multipliers.T, vmin=0, vmax=1, cmap="viridis")
  axes.set(xlabel="step", yticks=np.arange(len(names)) + 0.5, yticklabels=names)
  axes.invert_yaxis()
  figure.colorbar(drawn, label="multiplier of the rate")
  return figure
