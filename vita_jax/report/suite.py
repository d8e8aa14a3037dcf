"""A results table as a value: rows that each name a run, and what the paper reports for it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vita_jax.report.summary import CANNOT_BE, format_difference, format_metric, paired_interval

FINE = 0.2  # width of an interval below which two digits say too little of it


class Row(NamedTuple):
  """One row of a table.

  Attributes:
    label: unique name, also of the run's folder (see `run`).
    config: config file and argument, as `launch/train.py --config` takes it.
    overrides: dotted config name -> value.
    metric: name in summary.json, e.g. "test_accuracy".
    baseline: label of the row to pair this one with, seed by seed; "" for none.
    paper: the paper's (mean, std or None) in the metric's unit, or None where unknown.
    source: where the paper's number was read, shown beside it; "[memory]" is not verified.
    beside: further metrics of summary.json that are shown beside it; those a run does not have stay empty.
    run: name of the run's folder, where rows show different metrics of one run; "" for the label.
    keep: names of small text files of a run that `--results` keeps, since other rows or the end of the table
      read them.
  """

  label: str
  config: str
  overrides: Mapping[str, Any] = {}
  metric: str = "test_accuracy"
  baseline: str = ""
  paper: tuple[float, float | None] | None = None
  source: str = ""
  beside: tuple[str, ...] = ()
  run: str = ""
  keep: tuple[str, ...] = ()

  @property
  def folder(self) -> str:
    """Returns the name of the run's folder: `run` or the label, in lower case with underscores."""
    return re.sub(r"[^a-z0-9]+", "_", (self.run or self.label).lower()).strip("_")


class Line(NamedTuple):
  """A row with its measured result: `entry` as in summary.json, `difference` (mean, low, high) or None.

  `beside` has the entries of the row's further metrics, by name.
  """

  row: Row
  seeds: int
  entry: Mapping[str, Any]
  difference: tuple[float, float, float] | None
  beside: Mapping[str, Mapping[str, Any]] = {}


def make_lines(rows: Sequence[Row], summaries: Mapping[str, Mapping[str, Any]]) -> list[Line]:
  """Joins rows with the summaries of their runs (by label), pairing each with its baseline by seed.

  A row's metric is compared with the metric that the baseline's own row shows.

  Raises:
    ValueError: a run does not have the metric of its row.
  """
  lines, metric_of = [], {row.label: row.metric for row in rows}
  for row in rows:
    if row.label not in summaries:
      continue
    summary = summaries[row.label]
    if row.metric not in summary["metrics"]:
      raise ValueError(
        f"row '{row.label}': its run has no metric {row.metric}; it has {', '.join(summary['metrics'])}"
      )
    entry, difference = summary["metrics"][row.metric], None
    if row.baseline in summaries:
      difference = pair_runs(summary, summaries[row.baseline], row.metric, metric_of[row.baseline])
    beside = {name: summary["metrics"][name] for name in row.beside if name in summary["metrics"]}
    lines.append(Line(row, len(summary["seeds"]), entry, difference, beside))
  return lines


def pair_runs(
  ours: Mapping[str, Any], baseline: Mapping[str, Any], metric: str, of_baseline: str = ""
) -> tuple[float, float, float] | None:
  """Computes the mean and the Student-t interval (low, high) of the difference of two runs, seed by seed.

  Args:
    ours: a run's summary.json.
    baseline: another's.
    metric: name of a metric of ours.
    of_baseline: the baseline's metric, where it has another name.

  Returns:
    None with fewer than two common seeds.

  Examples:
    >>> one = {"seeds": [0, 1], "metrics": {"psnr": {"values": [20.0, 21.0]}}}
    >>> other = {"seeds": [1, 0], "metrics": {"psnr": {"values": [20.0, 19.0]}}}
    >>> pair_runs(one, other, "psnr")
    (1.0, 1.0, 1.0)
  """
  mine, theirs = (
    dict(zip(run["seeds"], run["metrics"][name]["values"], strict=True))
    for run, name in ((ours, metric), (baseline, of_baseline or metric))
  )
  common = sorted(mine.keys() & theirs.keys())
  return paired_interval([mine[s] for s in common], [theirs[s] for s in common])


def is_fraction(metric: str) -> bool:
  """Returns whether a metric is shown in percent."""
  return metric.endswith("accuracy")


def _paper(row: Row) -> str:
  if row.paper is None:
    return "unknown"
  scale, digits = (100, 2) if is_fraction(row.metric) else (1, 4)
  mean, std = row.paper
  text = f"{mean * scale:.{digits}f}" + (f" ± {std * scale:.{digits}f}" if std is not None else "")
  return f"{text} {row.source}".strip()


def _difference(line: Line) -> str:
  if line.difference is None:
    return ""
  scale = 100 if is_fraction(line.row.metric) else 1
  mean, low, high = line.difference
  digits = 2 if scale == 100 or high - low >= FINE else 4
  text = format_difference((scale * mean, scale * low, scale * high), digits=digits)
  return f"{text} to {line.row.baseline}"


def _marked(line: Line) -> str:
  """The label, with a mark where a value cannot be."""
  return line.row.label + (" (! cannot be)" if line.entry.get("impossible") else "")


HEADER = ("method", "seeds", "metric", "ours", "paper", "paired difference, 95 % interval")


def _cells(line: Line) -> tuple[str, ...]:
  metric = line.row.metric + (" %" if is_fraction(line.row.metric) else "")
  ours = format_metric(line.entry, percent=is_fraction(line.row.metric))
  return (line.row.label, str(line.seeds), metric, ours, _paper(line.row), _difference(line))


def _beside(line: Line, names: Sequence[str]) -> list[str]:
  entries = (line.beside.get(name) for name in names)
  return [format_metric(e, percent=is_fraction(n)) if e else "" for n, e in zip(names, entries, strict=True)]


def markdown(lines: Sequence[Line], *, title: str, header: str = "") -> str:
  """Writes the table as Markdown, columns aligned; std: population std.

  Args:
    lines: its rows, measured.
    title: of the table.
    header: a text between title and table, e.g. the protocol.
  """
  further = list(dict.fromkeys(name for line in lines for name in line.row.beside))
  rows = [(*HEADER, *further), *((*_cells(line), *_beside(line, further)) for line in lines)]
  if all(line.row.paper is None for line in lines):  # a comparison of the user's own
    rows = [row[:4] + row[5:] for row in rows]
  widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
  padded = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows]
  rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
  notes = "mean ± population std over seeds; paired differences: Student t over common seeds."
  if any("[memory]" in line.row.source for line in lines):
    notes += " [memory]: the paper's number as recalled, not verified."
  if any(entry.get("impossible") for line in lines for entry in (line.entry, *line.beside.values())):
    notes += f" {CANNOT_BE}"
  above = [f"# {title}", "", *([header, ""] if header else [])]
  return "\n".join([*above, padded[0], rule, *padded[1:], "", notes, ""])


def comma_separated(lines: Sequence[Line]) -> str:
  """Writes the table as CSV with plain numbers (fractions, not percent) and all values."""
  out = io.StringIO()
  writer = csv.writer(out, lineterminator="\n")
  further = list(dict.fromkeys(name for line in lines for name in line.row.beside))
  writer.writerow(
    "label,config,seeds,metric,mean,std,diverged,impossible,paper_mean,paper_std,paper_source,"
    "baseline,difference,difference_low,difference_high,values".split(",")
    + [f"{name}_{key}" for name in further for key in ("mean", "std")]
  )
  for row, seeds, entry, difference, beside in lines:
    paper = row.paper or (None, None)
    counts = [entry["diverged"], entry.get("impossible", 0)]
    own = [row.label, row.config, seeds, row.metric, entry["mean"], entry["std"], *counts]
    values = " ".join("" if v is None else repr(v) for v in entry["values"])
    others = [beside.get(name, {}).get(key) for name in further for key in ("mean", "std")]
    writer.writerow([*own, *paper, row.source, row.baseline, *(difference or (None,) * 3), values, *others])
  return out.getvalue()


def figure(lines: Sequence[Line], *, title: str) -> Any:
  """Draws means with bars of one population std over seeds: ours filled, the paper's hollow.

  Returns:
    A matplotlib Figure, which says what the bars are.
  """
  from matplotlib.figure import Figure

  drawing = Figure(figsize=(7, 1.1 + 0.32 * len(lines)), layout="constrained")
  axes = drawing.add_subplot()
  for i, line in enumerate(lines):
    scale = 100 if is_fraction(line.row.metric) else 1
    if line.entry["mean"] is not None:
      ours, std = line.entry["mean"] * scale, line.entry["std"] * scale
      axes.errorbar(ours, i - 0.12, xerr=std, fmt="o", ms=4, color="C0", label="ours")
    if line.row.paper:
      mean, std = line.row.paper
      bar = None if std is None else std * scale
      axes.errorbar(mean * scale, i + 0.12, xerr=bar, fmt="o", ms=4, mfc="white", color="C1", label="paper")
  axes.set_yticks(range(len(lines)), [_marked(line) for line in lines])
  axes.set_ylim(len(lines) - 0.5, -0.5)
  metrics = ", ".join(sorted({_cells(line)[2] for line in lines}))
  axes.set(title=title, xlabel=f"{metrics}\npoints: means; bars: ± one standard deviation over seeds")
  handles, names = axes.get_legend_handles_labels()
  unique = dict(zip(names, handles, strict=True))
  drawing.legend(unique.values(), unique.keys(), frameon=False, loc="outside right upper")
  return drawing
