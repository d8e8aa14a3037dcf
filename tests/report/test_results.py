"""The file of finished runs: what goes in by parts comes out by seed, and wrong files are told."""

import json
from types import SimpleNamespace

import pytest

from vita_jax.cli import rows
from vita_jax.report.results import add_results, load_results
from vita_jax.report.suite import Row
from vita_jax.report.summary import join_summaries, summarize


def _summary(*seeds):
  metrics = {"accuracy": summarize([None if s == 3 else s / 10 for s in seeds], name="accuracy")}
  shared = {"experiment": "toy", "versions": {"jax": "1"}, "complete": True, "frozen": []}
  return {"seeds": list(seeds), "steps": [5] * len(seeds), "seconds": 2.0, "metrics": metrics, **shared}


def test_parts_are_joined_by_seed_and_known_seeds_stay(tmp_path):
  path = tmp_path / "table.jsonl"
  assert load_results(path, "a") == {}
  add_results(path, "one", "a", _summary(2, 3))
  add_results(path, "another", "b", _summary(0))
  changed = _summary(1, 2)
  changed["metrics"]["accuracy"] = summarize([0.1, 0.9])
  add_results(path, "one", "a", changed)
  found = load_results(path, "a")
  assert list(found) == [1, 2, 3]
  joined = join_summaries(list(found.values()))
  assert joined["metrics"]["accuracy"] == {**summarize([0.1, 0.2, None]), "diverged": 1}
  assert len(path.read_text().splitlines()) == 2  # one line for a row
  assert load_results(path, "b")[0]["metrics"] == _summary(0)["metrics"]


@pytest.mark.parametrize("split", [0, 1])
def test_files_that_other_rows_read_come_back_on_another_machine(tmp_path, monkeypatch, split):
  """Row "found" would train what row "search" wrote: of a run of both seeds, or of one for each."""
  row, runs = Row("search", "x.py", keep=("genotype.json", "none.json")), []

  class Config(SimpleNamespace):
    def copy_and_resolve_references(self):
      return Config(**vars(self))

    def update(self, **changes):
      vars(self).update(changes)

  def trained(config, place, *, quiet):
    runs.append(place)
    place.mkdir(parents=True)
    for i in range(config.seeds):
      name = "genotype.json" if config.seeds == 1 else f"genotype_{i}.json"
      (place / name).write_text(f"of seed {config.seed + i}")
    return _summary(*range(config.seed, config.seed + config.seeds))

  monkeypatch.setattr(rows, "trained", trained)
  monkeypatch.setattr(rows, "row_config", lambda row, seeds: Config(seed=4, seeds=2))
  monkeypatch.setattr(rows, "settings_hash", lambda config: "a")
  monkeypatch.setattr(rows, "_stored_parts", lambda config, folder: [])
  path = tmp_path / "table.jsonl"
  first = rows.run_row(row, tmp_path / "here", split=split, results=path)
  assert len(runs) == (2 if split else 1)
  assert json.loads(path.read_text())["files"] == {
    "4": {"genotype.json": "of seed 4"},
    "5": {"genotype.json": "of seed 5"},
  }
  again = rows.run_row(row, tmp_path / "there", split=1, results=path)
  assert len(runs) == (2 if split else 1) and again["metrics"] == first["metrics"]
  for seed in (4, 5):
    place = tmp_path / "there" / "search" / f"seed_{seed}" / "genotype.json"
    assert place.read_text() == f"of seed {seed}"
    place.write_text("newer")  # what is there stays
  rows.run_row(row, tmp_path / "there", split=1, results=path)
  assert place.read_text() == "newer"


@pytest.mark.parametrize(
  "content, message", [("[]\n", "line 1"), ('{"label": "x"}\n', "no file of --results")]
)
def test_another_file_is_told(tmp_path, content, message):
  path = tmp_path / "table.jsonl"
  path.write_text(content)
  with pytest.raises(ValueError, match=message):
    load_results(path, "a")
