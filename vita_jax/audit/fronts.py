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
  """One setting of a method (say, one gamma): mean AUCs over seeds, of the strongest attacker unless said.

  `boosting`: of the strongest boosting attacker; `in_training`: of the adversaries, NaN without any.
  """

  method: str
  setting: str
  attack: float
  utility: float
  validation_attack: float
  validation_utility: float
  attack_std: float = 0.0
  utility_std: float = 0.0
  boosting: float = float("nan")
  in_training: float = float("nan")


def pareto(points: Sequence[Point]) -> list[Point]:
  """Returns the points that no other one beats on both axes by validation numbers, by rising leak."""
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
  """Reads the test utility off a method's front at a test leak, linear between points; None: not reached.

  A front whose least leak is above `attack` does not reach it; one whose largest is below gives its best.
  """
  front = pareto(points)
  leaks = np.array([p.attack for p in front])
  best = np.maximum.accumulate([p.utility for p in front])
  if not len(front) or leaks[0] > attack:
    return None
  return float(np.interp(attack, leaks, best))


def leak_at(points: Sequence[Point], utility: float) -> float | None:
  """Reads the test leak off a method's front at a test utility: `utility_at` the other way round.

  None where the front has no such utility; one whose least utility is above `utility` gives its least leak.
  """
  front = pareto(points)
  best, first = np.unique(np.maximum.accumulate([p.utility for p in front]), return_index=True)
  if not len(front) or utility > best[-1]:
    return None
  return float(np.interp(utility, best, np.array([p.attack for p in front])[first]))


def area(points: Sequence[Point], *, low: float = 0.5, high: float) -> float:
  """Computes the mean utility above 0.5 over leaks from `low` to `high`; 0 where the front does not reach."""
  grid = np.linspace(low, high, 201)
  values = [utility_at(points, leak) for leak in grid]
  return float(np.mean([0.0 if v is None else v - 0.5 for v in values]))


def points_of(entries: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[Point]:
  """Makes points of `{(method, setting): metrics of summary.json}`; runs without an AUC are skipped."""
  found = []
  for (method, setting), metrics in entries.items():
    mean = {name: entry["mean"] for name, entry in metrics.items() if entry.get("mean") is not None}
    if not {"attack_auc", "utility_auc"} <= mean.keys():
      continue
    found.append(
      Point(
        method=method,
        setting=setting,
        attack=mean["attack_auc"],
        utility=mean["utility_auc"],
        validation_attack=mean["validation_attack_auc"],
        validation_utility=mean["validation_utility_auc"],
        attack_std=metrics["attack_auc"]["std"],
        utility_std=metrics["utility_auc"]["std"],
        boosting=mean.get("attack_auc_boosting", float("nan")),
        in_training=mean.get("in_training_auc", float("nan")),
      )
    )
  return found


def by_method(points: Sequence[Point]) -> dict[str, list[Point]]:
  """Groups points by method, in their order."""
  found: dict[str, list[Point]] = {}
  for point in points:
    found.setdefault(point.method, []).append(point)
  return found


def comma_separated(points: Sequence[Point]) -> str:
  """Writes the points as CSV, with whether each lies on its method's front."""
  out = io.StringIO()
  writer = csv.writer(out, lineterminator="\n")
  writer.writerow([*Point._fields, "on_front"])
  fronts = {method: pareto(own) for method, own in by_method(points).items()}
  writer.writerows([*point, int(point in fronts[point.method])] for point in points)
  return out.getvalue()


def markdown(points: Sequence[Point], *, at: float) -> str:
  """Writes the utility of every method at one leak and the area under its front, as Markdown."""
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


def plain(point: Point) -> dict[str, Any]:
  """Returns a point as plain data for JSON, which has no NaN."""
  return {name: None if x != x else x for name, x in point._asdict().items()}


def bar(points: Sequence[Point], ours: str, *, at: float, boosted: Sequence[str]) -> str:
  """Writes how much more utility `ours` keeps than each other method at one leak, as Markdown.

  For the methods in `boosted`, also what boosting finds in ours at the utility of each of their points.
  """
  methods = by_method(points)
  own = methods[ours]
  value = utility_at(own, at)
  shown = "does not reach it" if value is None else f"{value:.3f}"
  lines = [f"## The bar: {ours} at a strongest-attacker AUC of {at:g}: {shown}", ""]
  lines += [f"| method | utility AUC | {ours} keeps more by (bar: 0.03) |", "|---|---|---|"]
  for method in (m for m in methods if not m.startswith(ours.split()[0])):
    theirs = utility_at(methods[method], at)
    kept = "does not reach it" if theirs is None else f"{theirs:.3f}"
    lines.append(f"| {method} | {kept} | {_difference(value, theirs)} |")
  lines += ["", f"| method, setting | utility AUC | boosting, AUC | {ours} at that utility | difference |"]
  lines.append("|---|---|---|---|---|")
  curve = [p._replace(attack=p.boosting) for p in own]
  for p in (p for method in boosted for p in pareto(methods.get(method, ()))):
    leak = leak_at(curve, p.utility)
    shown = "does not reach it" if leak is None else f"{leak:.3f}"
    name, less = f"{p.method} {p.setting}".strip(), _difference(leak, p.boosting)
    lines.append(f"| {name} | {p.utility:.3f} | {p.boosting:.3f} | {shown} | {less} |")
  return "\n".join(lines) + "\n"


def gains(trials: Sequence[Point], base: Sequence[Point]) -> str:
  """Writes by how much each trial lies above the front of `base` on VALIDATION rows, as Markdown."""
  front = [_on_validation(p) for p in base]
  lines = [
    "## Trials, on validation rows",
    "",
    "| trial | leak | utility | above the front |",
    "|---|---|---|---|",
  ]
  for p in map(_on_validation, trials):
    above = _difference(p.utility, utility_at(front, p.attack))
    lines.append(f"| {p.method} {p.setting} | {p.attack:.3f} | {p.utility:.3f} | {above or 'beyond it'} |")
  return "\n".join(lines) + "\n"


def _on_validation(point: Point) -> Point:
  return point._replace(attack=point.validation_attack, utility=point.validation_utility)


def _difference(one: float | None, other: float | None) -> str:
  return "" if one is None or other is None else f"{one - other:+.3f}"


def figure(points: Sequence[Point], *, title: str) -> Any:
  """Draws leak against utility, each method a colour, fronts as lines, stds as bars: a matplotlib Figure."""
  from matplotlib import colormaps
  from matplotlib.figure import Figure

  drawing = Figure(figsize=(8.5, 5), layout="constrained")
  axes = drawing.add_subplot()
  for i, (method, own) in enumerate(reversed(by_method(points).items())):
    # Full colours for the games, which come last, then pale ones; nine markers: no pair comes twice.
    color, marker = colormaps["tab20"](2 * i % 20 + i // 10 % 2), "osD^v<>P*"[i % 9]
    axes.errorbar(
      [p.attack for p in own],
      [p.utility for p in own],
      xerr=[p.attack_std for p in own],
      yerr=[p.utility_std for p in own],
      fmt=marker,
      ms=6,
      lw=0.6,
      color=color,
      label=method,
    )
    front = pareto(own)
    axes.plot([p.attack for p in front], [p.utility for p in front], "-", lw=1, color=color)
  axes.axvline(0.5, color="0.8", zorder=0)
  axes.set(title=title, xlabel="strongest new attacker, AUC (less is private)", ylabel="utility, AUC")
  axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
  return drawing
