"""The tally of a comparison, on made-up curves."""

import json

import pytest

from vita_jax.optim import comparison, verdicts
from vita_jax.optim.comparison import Protocol, entrant

LEVELS = {"adam": -1.0, "lion": -2.0, "sgd": -0.5}


def _result(folder, task, label, slope, values):
  entries = {"ln_loss": {"values": values}, "microseconds": {"values": [10.0] * len(values)}}
  row = comparison.report_row(task, entrant(label), Protocol(), 0.1)
  (folder / row.folder).mkdir()
  rows = [
    {
      "stage": "optimize",
      "at": t,
      "step": t,
      "split": "train",
      "metrics": {"ln_loss": [slope * t for _ in values]},
    }
    for t in range(10, 1001, 10)
  ]
  text = "".join(json.dumps(row) + "\n" for row in rows)
  (folder / row.folder / "metrics.jsonl").write_text(text)
  return comparison.Result(task, entrant(label), row, {"metrics": entries}, 0.1)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tally")
  results = [
    _result(folder, "bowl", "adam", -1.0, [-1.0, -1.1, -1.2]),
    _result(folder, "bowl", "lion", -2.0, [-2.0, -2.1, -2.2]),  # better, and twice as quick
    _result(folder, "bowl", "sgd", -0.5, [-1.1, -1.0, -1.2]),  # level, and never there
    _result(folder, "well", "adam", -1.0, [-1.0, -1.1, -1.2]),
    _result(folder, "well", "lion", -0.9, [-1.3, -0.9, -1.19]),  # better in the mean, not surely
    _result(folder, "well", "nag", -1.0, [-0.8, -0.9, -1.3]),  # an interval that holds 0, and far from level
    _result(folder, "well", "sgd", -1.0, [-3.0, None, -3.0]),
    _result(folder, "alone", "lion", -1.0, [-1.0, -1.0, -1.0]),
  ]
  return verdicts.tally(results, folder, reference="adam")


def test_the_tally_counts_problems(text):
  assert "Problems: 2, beside adam" in text
  rows = {line.split(" | ")[0][2:]: line for line in text.splitlines() if line.startswith("| ")}
  # problems, better, surely, best or level, diverged, late
  assert rows["adam"] == "| adam | 2 |  |  | 1 | 0 | 1 |"
  assert rows["lion"] == "| lion | 2 | 2 | 1 | 2 | 0 | never |"
  assert rows["nag"] == "| nag | 1 | 0 | 0 | 0 | 0 | 1.00 |"
  assert rows["sgd"] == "| sgd | 2 | 0 | 0 | 0 | 1 | never |"


def test_steps_to_the_references_loss(tmp_path):
  adam = _result(tmp_path, "bowl", "adam", -1.0, [-1.0, -1.1])
  lion = _result(tmp_path, "bowl", "lion", -2.0, [-2.0, -2.1])
  text = verdicts.tally([adam, lion], tmp_path, reference="adam")
  # Means of the last 100 steps are at -955 after 1,000 steps of adam and after 520 (500.., in tens) of lion.
  assert "| lion | 1 | 1 | 1 | 1 | 0 | 0.53 |" in text
