"""Finished runs are found whole or seed by seed, and only comparable ones are compared."""

import json

import pytest

from vita_jax.train.runs import find_runs


def _run(folder, seed, seeds=1, **own):
  folder.mkdir(parents=True)
  config = {"seed": seed, "seeds": seeds, "data": {"size": 16}, **own}
  (folder / "config.json").write_text(json.dumps({"config": config}))
  (folder / "summary.json").write_text("{}")


def test_runs_are_found_whole_or_in_parts_and_their_seeds_are_paired(tmp_path):
  _run(tmp_path / "a", 0, seeds=2, rate=1)
  for seed in (1, 0):
    _run(tmp_path / "b" / f"seed_{seed}", seed, rate=2)
  config, runs = find_runs([str(tmp_path / "a"), str(tmp_path / "b")])
  assert config.rate == 1 and runs == {
    "a": [(tmp_path / "a", 0), (tmp_path / "a", 1)],
    "b": [(tmp_path / "b" / "seed_0", 0), (tmp_path / "b" / "seed_1", 1)],
  }
  _run(tmp_path / "other", 0, seeds=2, data={"size": 32})
  _run(tmp_path / "later", 1, seeds=2)
  _run(tmp_path / "mixed" / "seed_0", 0, rate=1)
  _run(tmp_path / "mixed" / "seed_1", 1, rate=2)
  for name, message in {
    "other": "other has other data, config.data=.*32.*, than a",
    "later": r"later has the seeds \[1, 2\], a has \[0, 1\]: seeds are paired",
    "mixed": "mixed has parts of unlike settings: delete those of older ones",
    "none": "no finished run in .*none: .* of launch/table.py --results has no weights",
    "b/../a": "two have the same last name",
  }.items():
    with pytest.raises((ValueError, FileNotFoundError), match=message):
      find_runs([str(tmp_path / "a"), str(tmp_path / name)])
