"""An architecture as a picture: branches from top (fine) to bottom, stages from left to right."""

from __future__ import annotations

from typing import Any

from vita_jax.search.branches.genotype import Genotype
from vita_jax.search.operations import OPERATIONS

SHORT = {"zero": "–", "skip": "skip", "max_pool": "max", "avg_pool": "avg"}
UP, DOWN, ON = "C1", "C0", "0.4"  # transfers from coarser and from finer branches, and branches that go on


def draw_genotype(genotype: Genotype, *, title: str = "", stride: int = 4) -> Any:
  """Draws an architecture: boxes with the number of cells, lines for who sends to whom, then the cells.

  Args:
    genotype: the architecture.
    title: above it; "": score and multiply-adds, where its facts have them.
    stride: of the finest branch, for labels.

  Returns:
    A matplotlib Figure; `figure.savefig("x.svg")` or ".png" writes it.
  """
  from matplotlib.figure import Figure

  network, n = genotype.network, genotype.space.branches
  depth = int(network.live.sum())
  below = 0.0 if genotype.cells is None else 0.25 * n + 0.2
  figure = Figure(figsize=(1.7 * (depth + 2), 0.9 * n + 0.6 + below), layout="constrained")
  axes = figure.add_subplot()
  for stage in range(depth):
    for to in range(n):
      for source in range(n):
        if network.edges[stage, to, source]:
          _line(axes, (stage, source), (stage + 1, to))
  for source in range(n):
    if network.head[source]:
      _line(axes, (depth, source), (depth + 1, 0))
  _box(axes, 0, 0, "stem")
  _box(axes, depth + 1, 0, "head")
  for stage in range(depth):
    for branch in range(n):
      count = int(network.cells[stage, branch])
      if count:
        _box(axes, stage + 1, branch, f"{count} cell{'s' if count > 1 else ''}")
  axes.set_yticks(range(n), [f"1/{stride * 2**b}" for b in range(n)])
  axes.set_xticks(range(1, depth + 1), [f"stage {i + 1}" for i in range(depth)])
  axes.set_xlim(-0.5, depth + 1.5)
  axes.set_ylim(n - 0.5, -0.5)
  for side in ("top", "right", "left", "bottom"):
    axes.spines[side].set_visible(False)
  axes.tick_params(length=0)
  facts = genotype.facts
  if not title and {"score", "macs"} <= facts.keys():
    title = f"score {facts['score']:.3f}, {facts['macs'] / 1e6:.1f} M multiply-adds"
  if title:
    axes.set_title(title, fontsize=9)
  if genotype.cells is not None:
    axes.set_xlabel(_cells(genotype), fontsize=7, loc="left", family="monospace")
  return figure


def _line(axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
  (x0, y0), (x1, y1) = start, end
  colour = ON if y0 == y1 else UP if y0 > y1 else DOWN
  axes.annotate(
    "",
    xy=(x1 - 0.28, y1),
    xytext=(x0 + 0.28, y0),
    arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.0},
  )


def _box(axes: Any, x: float, y: float, label: str) -> None:
  box = {"boxstyle": "round", "facecolor": "white", "edgecolor": "0.2"}
  axes.text(x, y, label, ha="center", va="center", fontsize=8, bbox=box)


def _cells(genotype: Genotype) -> str:
  """The operations on the edges of each branch's cells; input 0 is the cell's own, then its nodes."""
  assert genotype.cells is not None
  lines = []
  for branch, row in enumerate(genotype.cells):
    kinds = [OPERATIONS[int(o)] for o in row]
    edges = [(node, place) for node in range(3) for place in range(node + 1)]
    shown = [
      f"{place}→{node + 1} {SHORT.get(kind, kind)}"
      for (node, place), kind in zip(edges, kinds, strict=True)
      if kind != "zero"
    ]
    lines.append(f"branch {branch}: " + "  ".join(shown))
  return "\n".join(lines)
