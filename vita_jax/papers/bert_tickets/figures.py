"""Pictures of tickets: the score against the sparsity, and where the pruned weights were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vita_jax.compress import Masks, layer_sparsity


def tickets(found: Mapping[str, float], metric: str) -> Any:
  """A line for each start: `found` is {"<start>_<percent>": score}. A matplotlib Figure."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(4.5, 3.2), layout="constrained")
  axes = figure.add_subplot()
  lines: dict[str, list[tuple[float, float]]] = {}
  for name, value in found.items():
    start, _, sparsity = name.rpartition("_")
    lines.setdefault(start, []).append((float(sparsity), value))
  for start, points in lines.items():
    axes.plot(*np.array(sorted(points)).T, marker="o", label=start)
  axes.set(xlabel="pruned weights, %", ylabel=metric)
  axes.legend(frameon=False)
  return figure


def layers(masks: Masks) -> Any:
  """A bar for each pruned matrix: the share of its weights that is gone. A matplotlib Figure."""
  from matplotlib.figure import Figure

  shares = layer_sparsity(masks)
  figure = Figure(figsize=(5, 1 + 0.16 * len(shares)), layout="constrained")
  axes = figure.add_subplot()
  names = [name.removeprefix("bert/").removeprefix("encoder/").removesuffix("/kernel") for name in shares]
  axes.barh(names, [100 * share for share in shares.values()])
  axes.invert_yaxis()
  axes.tick_params(axis="y", labelsize=6)
  axes.set(xlabel="pruned weights, %", xlim=(0, 100))
  return figure
