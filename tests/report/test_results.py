"""The file of finished runs: what goes in by parts comes out by seed, and wrong files are told."""

import pytest

from vita_jax.report.results import add_results, load_results
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


@pytest.mark.parametrize(
  "content, message", [("[]\n", "line 1"), ('{"label": "x"}\n', "no file of --results")]
)
def test_another_file_is_told(tmp_path, content, message):
  path = tmp_path / "table.jsonl"
  path.write_text(content)
  with pytest.raises(ValueError, match=message):
    load_results(path, "a")
