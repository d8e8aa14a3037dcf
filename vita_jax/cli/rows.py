"""Rows of a suite: their configs, and runs that are added to seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vita_jax.base.files import write_text
from vita_jax.cli.files import find_config, load_config
from vita_jax.cli.runs import trained
from vita_jax.report import suite
from vita_jax.report.results import add_results, load_results
from vita_jax.report.summary import join_summaries, select_seeds
from vita_jax.train.config import as_dict, config_hash
from vita_jax.train.finish import read_config


def row_config(row: suite.Row, seeds: int | None) -> Any:
  """Returns the resolved config of a row.

  Raises:
    ValueError: an override that the config does not have.
  """
  path, _, argument = row.config.partition(":")
  config = load_config(find_config(path), argument or None)
  try:
    config.update_from_flattened_dict(dict(row.overrides))
  except (KeyError, AttributeError) as error:
    raise ValueError(f"row '{row.label}': {error}") from error
  if seeds is not None:
    config.seeds = seeds
  return config


def run_row(
  row: suite.Row,
  workdir: Path,
  *,
  seeds: int | None = None,
  split: int = 0,
  quiet: bool = False,
  results: str | Path | None = None,
) -> dict[str, Any]:
  """Runs the seeds of a row that are not there yet, and returns the summary of all that are asked for.

  A row's first run is in its folder, or with `split` in runs of so many seeds each in `<row>/seed_<first>`;
  seeds that are added later are there, too. Replicated by `map`, a seed has the same numbers in any
  company; by `vmap` sums may be rounded otherwise, which moves an accuracy by a row or two.
  With `results` (see `report.results`) seeds in that file are not run again, and finished ones are added;
  files of `row.keep` come back from it where they are gone.
  """
  config, folder = row_config(row, seeds), workdir / row.folder
  wanted = list(range(config.seed, config.seed + config.seeds))
  settings = settings_hash(config)
  found = load_results(results, settings) if results else {}
  _restore(row, found, folder, wanted)
  parts = _stored_parts(config, folder)
  lacking = sorted(set(wanted) - {seed for _, some in parts for seed in some} - found.keys())
  if lacking == wanted and not 0 < split < len(wanted):
    parts = [(folder, range(wanted[0], wanted[-1] + 1))]
  else:
    parts += _new_parts(lacking, folder, split)
  for place, some in parts:
    if set(wanted) & (set(some) - found.keys()):
      part = config.copy_and_resolve_references()
      part.update(seed=some[0], seeds=len(some))
      summary = trained(part, place, quiet=quiet)
      if results:
        files = {seed: _kept(row, place, i, len(some)) for i, seed in enumerate(some)}
        add_results(results, row.label, settings, summary, files=files)
      if list(some) == wanted:
        return summary
      found |= {seed: select_seeds(summary, [seed]) for seed in some if seed not in found}
  return join_summaries([found[seed] for seed in wanted])


def _kept(row: suite.Row, place: Path, i: int, seeds: int) -> dict[str, str]:
  """Reads the files of `row.keep` of a run's seed number i; a run of several seeds has them as name_<i>."""
  found = {}
  for name in row.keep:
    path = Path(name)
    own = place / (name if seeds == 1 else f"{path.stem}_{i}{path.suffix}")
    if own.is_file():
      found[name] = own.read_text(encoding="utf-8")
  return found


def _restore(row: suite.Row, found: Mapping[int, Any], folder: Path, wanted: Sequence[int]) -> None:
  """Writes the files that are kept with finished runs to where those would have them, if they are gone."""
  for seed in wanted:
    place = folder if len(wanted) == 1 else folder / f"seed_{seed}"
    for name, text in found.get(seed, {}).get("files", {}).get(str(seed), {}).items():
      if name in row.keep and not (place / name).exists():
        place.mkdir(parents=True, exist_ok=True)
        write_text(place / name, text)


def settings_hash(config: Any) -> str:
  """Returns the hash of a config without its seeds, by which runs of one row are known."""
  return config_hash({k: v for k, v in as_dict(config).items() if k not in ("seed", "seeds")})


def _stored_parts(config: Any, folder: Path) -> list[tuple[Path, range]]:
  """The folders that hold a run of this config, finished or not, and its seeds."""
  found = []
  for place in (folder, *sorted(folder.glob("seed_*"))):
    if (place / "config.json").exists():
      stored = read_config(place)
      if settings_hash(stored) == settings_hash(config):
        found.append((place, range(stored.seed, stored.seed + stored.seeds)))
      elif place == folder:
        trained(config, folder)  # is refused, and says which settings the run there has
  return found


def _new_parts(seeds: Sequence[int], folder: Path, split: int) -> list[tuple[Path, range]]:
  """Folders for seeds that no run has: consecutive ones together, `split` at a time if it is given."""
  found: list[tuple[Path, range]] = []
  for seed in seeds:
    if found and found[-1][1].stop == seed and not 0 < split <= len(found[-1][1]):
      found[-1] = (found[-1][0], range(found[-1][1].start, seed + 1))
    else:
      found.append((folder / f"seed_{seed}", range(seed, seed + 1)))
  return found
