"""Final numbers of a run: mean, population std and values over seeds, written as summary.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vita_jax.metrics.pu import impossible

CANNOT_BE = "!: values that a metric cannot have, estimated from too few rows or with a wrong class prior."


def summarize(values: Any, *, name: str = "") -> dict[str, Any]:
  """Summarizes a metric over seeds: mean and population std of finite values, and all values.

  Beside them stands how many values diverged, and how many are `impossible`: numbers that a metric of this
  name cannot have (see `vita_jax.metrics.impossible`).

  Args:
    values: a float, or a list in seed order; None and non-finite values count as diverged.
    name: of the metric.
  """
  listed = values if isinstance(values, list | tuple) else [values]
  clean = [float(v) if v is not None and math.isfinite(v) else None for v in listed]
  good = np.array([v for v in clean if v is not None], np.float64)
  return {
    "mean": float(good.mean()) if good.size else None,
    "std": float(good.std()) if good.size else None,
    "values": clean,
    "diverged": len(clean) - good.size,
    "impossible": sum(len(impossible({name: v})) for v in clean),
  }


def join_summaries(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """Joins the summaries of runs that had some of the seeds each into that of one run, in this order."""
  names = [name for name in parts[0]["metrics"] if all(name in part["metrics"] for part in parts)]

  def values(name: str) -> list[float | None]:
    return [v for part in parts for v in part["metrics"][name]["values"]]

  return {
    **parts[0],
    **{key: [x for part in parts for x in part.get(key, ())] for key in ("seeds", "steps", "frozen")},
    "seconds": sum(part["seconds"] for part in parts),
    "metrics": {name: summarize(values(name), name=name) for name in names},
  }


def paired_interval(
  ours: list[float | None], baseline: list[float | None], *, level: float = 0.95
) -> tuple[float, float, float] | None:
  """Computes the mean and Student-t interval (low, high) of `ours - baseline` over the seeds that both have.

  None with fewer than two pairs.
  """
  pairs = zip(ours, baseline, strict=False)
  difference = np.array([a - b for a, b in pairs if a is not None and b is not None], np.float64)
  if difference.size < 2:
    return None
  from scipy.stats import t as student_t

  half = student_t.ppf((1 + level) / 2, difference.size - 1)
  half *= difference.std(ddof=1) / math.sqrt(difference.size)
  return float(difference.mean()), float(difference.mean() - half), float(difference.mean() + half)


def format_difference(found: tuple[float, float, float] | None, *, digits: int = 2) -> str:
  """Writes a mean with its interval as `+0.31 [+0.12, +0.50]`; "too few seeds" for None."""
  if found is None:
    return "too few seeds"
  mean, low, high = (f"{x:+.{digits}f}" for x in found)
  return f"{mean} [{low}, {high}]"


def format_metric(entry: Mapping[str, Any], *, percent: bool, digits: int | None = None) -> str:
  """Writes `70.86 ± 0.67` (percent), `0.1234 ± 0.0012` or `1234 ± 5`, and how many seeds diverged.

  A value that the metric cannot have is marked: `6.3780 (! cannot be)`; see `CANNOT_BE`.

  Args:
    entry: as `summarize` returns it.
    percent: whether it is a fraction, to be shown times 100.
    digits: after the point; default: 2 of a percentage, else 4, or 0 from 1,000 on.
  """
  if entry["mean"] is None:
    return "diverged"
  scale, usual = (100.0, 2) if percent else (1.0, 4 if abs(entry["mean"]) < 1000 else 0)
  digits = usual if digits is None else digits
  text = f"{entry['mean'] * scale:.{digits}f}"
  if len(entry["values"]) > 1:
    text += f" ± {entry['std'] * scale:.{digits}f}"
  if entry["diverged"]:
    text += f" ({entry['diverged']} diverged)"
  if wrong := entry.get("impossible", 0):  # summaries of earlier versions do not say
    of = f"{wrong} of {len(entry['values'])} " if len(entry["values"]) > 1 else ""
    text += f" (! {of}cannot be)"
  return text


def select_seeds(summary: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
  """Returns the summary of some seeds of a run, as if it had had no others.

  Raises:
    ValueError: a seed that the run did not have.
  """
  if absent := [seed for seed in seeds if seed not in summary["seeds"]]:
    raise ValueError(f"the run has no seed {absent[0]}: it has {', '.join(map(str, summary['seeds']))}")
  places = [summary["seeds"].index(seed) for seed in seeds]
  metrics = {
    name: summarize([entry["values"][i] for i in places], name=name)
    for name, entry in summary["metrics"].items()
  }
  return {
    **summary,
    **{key: [summary[key][i] for i in places] for key in ("seeds", "steps")},
    "seconds": summary["seconds"] * len(places) / len(summary["seeds"]),
    "metrics": metrics,
  }
