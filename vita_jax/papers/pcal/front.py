"""Trade-off fronts: how much utility a method keeps at how much leak. Plain numpy, on the host.

What lies on a front is chosen by validation numbers; what is shown of it are test numbers.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Point(NamedTuple):
  """One setting of a method (say, one gamma): mean AUCs. `in_training` is NaN without adversaries."""

  method: str
  setting: str
  attack: float
  utility: float
  validation_attack: float
  validation_utility: float
  attack_std: float = 0.0
  utility_std: float = 0.0
  in_training: float = float("nan")


def pareto(points: Sequence[Point]) -> list[Point]:
  """The points that no other one beats on both axes by validation numbers, by falling leak."""
  kept = [
    p
    for p in points
    if not any(
      (q.validation_attack <= p.validation_attack and q.validation_utility >= p.validation_utility)
      and (q.validation_attack < p.validation_attack or q.validation_utility > p.validation_utility)
      for q in points
    )
  ]
  return sorted(kept, key=lambda p: (p.attack, -p.utility))


def utility_at(points: Sequence[Point], attack: float) -> float | None:
  """Test utility of a method's front at a test leak, linear between points; None where it does not reach it.

  A front whose least leak is above `attack` does not reach it; one whose largest is below gives its best.
  """
  front = pareto(points)
  leaks = np.array([p.attack for p in front])
  best = np.maximum.accumulate([p.utility for p in front])
  if not len(front) or leaks[0] > attack:
    return None
  return float(np.interp(attack, leaks, best))


def area(points: Sequence[Point], *, low: float = 0.5, high: float) -> float:
  """Mean utility above 0.5 over leaks from `low` to `high`; 0 where the front does not reach."""
  grid = np.linspace(low, high, 201)
  values = [utility_at(points, leak) for leak in grid]
  return float(np.mean([0.0 if v is None else v - 0.5 for v in values]))


def points_of(entries: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[Point]:
  """Points from `{(method, setting): metrics of summary.json}`; runs without a leak in AUC are left out."""
  found = []
  for (method, setting), metrics in entries.items():
    value = lambda name, key="mean", m=metrics: m.get(name, {}).get(key)  # noqa: E731
    if value("attack_auc") is None or value("utility_auc") is None:
      continue
    found.append(
      Point(
        method=method,
        setting=setting,
        attack=value("attack_auc"),
        utility=value("utility_auc"),
        validation_attack=value("validation_attack_auc"),
        validation_utility=value("validation_utility_auc"),
        attack_std=value("attack_auc", "std"),
        utility_std=value("utility_auc", "std"),
        in_training=float("nan") if value("in_training_auc") is None else value("in_training_auc"),
      )
    )
  return found


def by_method(points: Sequence[Point]) -> dict[str, list[Point]]:
  """Points grouped by method, in their order."""
  found: dict[str, list[Point]] = {}
  for point in points:
    found.setdefault(point.method, []).append(point)
  return found


def comma_separated(points: Sequence[Point]) -> str:
  """The points as CSV, with whether each lies on its method's front."""
  out = io.StringIO()
  writer = csv.writer(out, lineterminator="\n")
  writer.writerow([*Point._fields, "on_front"])
  fronts = {method: pareto(own) for method, own in by_method(points).items()}
  writer.writerows([*point, int(point in fronts[point.method])] for point in points)
  return out.getvalue()


def markdown(points: Sequence[Point], *, at: float) -> str:
  """Utility of every method at one leak, and the area under its front; whether it gets there at all."""
  high = max(p.attack for p in points)
  lines = [
    f"## Utility at a strongest-attacker AUC of {at:g}",
    "",
    f"| method | points | least leak | utility AUC at {at:g} | area above 0.5, leaks 0.5 to {high:.3f} |",
    "|---|---|---|---|---|",
  ]
  for method, own in by_method(points).items():
    value = utility_at(own, at)
    shown = "does not reach it" if value is None else f"{value:.3f}"
    least = min(p.attack for p in own)
    lines.append(f"| {method} | {len(own)} | {least:.3f} | {shown} | {area(own, high=high):.4f} |")
  return "\n".join(lines) + "\n"


def figure(points: Sequence[Point], *, title: str) -> Any:
  """A matplotlib Figure: leak against utility, one colour a method, its front a line, seeds as error bars."""
  from matplotlib.figure import Figure

  drawing = Figure(figsize=(7.5, 5), layout="constrained")
  axes = drawing.add_subplot()
  for i, (method, own) in enumerate(by_method(points).items()):
    color, marker = f"C{i % 10}", "osD^v<>Px*"[i % 10]
    axes.errorbar(
      [p.attack for p in own],
      [p.utility for p in own],
      xerr=[p.attack_std for p in own],
      yerr=[p.utility_std for p in own],
      fmt=marker,
      ms=4,
      lw=0.6,
      color=color,
      label=method,
    )
    front = pareto(own)
    axes.plot([p.attack for p in front], [p.utility for p in front], "-", lw=1, color=color)
  axes.axvline(0.5, color="0.8", zorder=0)
  axes.set(title=title, xlabel="strongest new attacker, AUC (less is private)", ylabel="utility, AUC")
  axes.legend(frameon=False, fontsize=7)
  return drawing
