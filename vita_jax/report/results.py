"""Finished runs of a table in one small file: the table goes on elsewhere, and its values stay public.

One JSON object a line, for one row of a suite under one configuration:

    {"label": str, "settings": str, "experiment": str, "versions": {name: str}, "seconds": float,
     "seeds": [int], "steps": [int], "frozen": [int], "metrics": {name: [float or null, seed by seed]},
     "files": {seed: {name: text}}}

`settings` is the hash of the configuration without its seeds, so a row that was changed is run anew. Neither
the data nor the code are part of it: after a change of these begin a new file (`versions` has the commit).
`files` are those of `Row.keep`, what later rows or the end of the table read of a run; most tables have none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vita_jax.base.files import parse_json, write_text
from vita_jax.report.summary import join_summaries, select_seeds, summarize

_KEYS = ("label", "settings", "experiment", "versions", "seconds", "seeds", "steps", "frozen", "metrics")


def load_results(path: str | Path, settings: str) -> dict[int, dict[str, Any]]:
  """Returns the summaries of the runs of one configuration, by seed; none where there is no file.

  Raises:
    ValueError: a line that is no JSON object, or lacks a key.
  """
  return {
    seed: select_seeds(summary, [seed])
    for summary in _read(Path(path))
    if summary["settings"] == settings
    for seed in summary["seeds"]
  }


def add_results(
  path: str | Path,
  label: str,
  settings: str,
  summary: Mapping[str, Any],
  *,
  files: Mapping[int, Mapping[str, str]] | None = None,
) -> None:
  """Adds a finished run to the file, sorted by label and seed; seeds that are there already stay.

  Args:
    path: the file, which is made if it is not there.
    label: of the row.
    settings: hash of the configuration without its seeds.
    summary: as in summary.json, of one seed or several.
    files: seed -> name -> text, small files of the run that are kept with its values.
  """
  lines = _read(Path(path))
  same = [line for line in lines if line["settings"] == settings]
  known = {seed for line in same for seed in line["seeds"]}
  fresh = [seed for seed in summary["seeds"] if seed not in known]
  parts = [*same, *([select_seeds(summary, fresh)] if fresh else [])]
  by_seed = {seed: select_seeds(part, [seed]) for part in parts for seed in part["seeds"]}
  joined = join_summaries([by_seed[seed] for seed in sorted(by_seed)])
  texts = {str(seed): dict(own) for seed, own in (files or {}).items() if seed in fresh and own}
  for line in same:
    texts |= line.get("files", {})
  mine = {**joined, "label": label, "settings": settings, "files": texts}
  others = [line for line in lines if line["settings"] != settings]
  ordered = sorted([*others, mine], key=lambda line: (line["label"], line["settings"]))
  write_text(path, "".join(f"{json.dumps(_line(one))}\n" for one in ordered))


def _line(summary: Mapping[str, Any]) -> dict[str, Any]:
  metrics = {name: entry["values"] for name, entry in summary["metrics"].items()}
  files = {"files": summary["files"]} if summary.get("files") else {}
  return {key: summary[key] for key in _KEYS} | {"metrics": metrics} | files


def _read(path: Path) -> list[dict[str, Any]]:
  if not path.exists():
    return []
  found = []
  for i, text in enumerate(path.read_text(encoding="utf-8").splitlines()):
    line = parse_json(text, f"{path}, line {i + 1}", what="finished runs")
    if absent := [key for key in _KEYS if key not in line]:
      raise ValueError(f"{path}, line {i + 1} has no '{absent[0]}': it is no file of --results")
    metrics = {name: summarize(values, name=name) for name, values in line["metrics"].items()}
    found.append({**line, "complete": True, "metrics": metrics})
  return found
