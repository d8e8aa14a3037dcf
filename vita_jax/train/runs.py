"""Finished runs that are compared: their folders, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vita_jax.train.finish import read_config


def find_runs(folders: Sequence[str]) -> tuple[Any, dict[str, list[tuple[Path, int]]]]:
  """Finds finished runs on the same data: (config of the first, label -> (folder, seed) of each seed).

  A run is one folder, or has its seeds in parts, as launch/table.py --split writes them; its label is the
  folder's name.

  Raises:
    FileNotFoundError: no finished run in a folder.
    ValueError: labels twice; runs of other data or other seeds than the first; parts of unlike settings.
  """
  places = {Path(name).expanduser().name: Path(name).expanduser() for name in folders}
  if len(places) < len(folders):
    raise ValueError("--runs names folders, of which two have the same last name: it is their label")
  found = {label: _parts_of(folder) for label, folder in places.items()}
  (config, first), *others = found.values()
  for label, (own, parts) in zip(list(places)[1:], others, strict=True):
    if own["data"] != config["data"]:
      raise ValueError(f"{label} has other data, config.data={dict(own['data'])}, than {next(iter(places))}")
    ours, theirs = ([seed for _, seed in some] for some in (first, parts))
    if ours != theirs:
      raise ValueError(f"{label} has the seeds {theirs}, {next(iter(places))} has {ours}: seeds are paired")
  return config, {label: parts for label, (_, parts) in found.items()}


def _parts_of(folder: Path) -> tuple[Any, list[tuple[Path, int]]]:
  places = (folder, *sorted(folder.glob("seed_*")))
  finished = [place for place in places if (place / "summary.json").is_file()]
  if not finished:
    raise FileNotFoundError(
      f"no finished run in {folder}: train one, launch/train.py --workdir={folder}, or copy its folder here:"
      " a file of launch/table.py --results has no weights"
    )
  configs = {place: read_config(place) for place in finished}
  settings = [{k: v for k, v in c.to_dict().items() if k not in ("seed", "seeds")} for c in configs.values()]
  if any(own != settings[0] for own in settings):
    raise ValueError(f"{folder} has parts of unlike settings: delete those of older ones")
  parts = {c.seed + i: place for place, c in configs.items() for i in range(c.seeds)}
  return configs[finished[0]], [(parts[seed], seed) for seed in sorted(parts)]
