"""launch/train.py and launch/evaluate.py: what they write, and that they say the same thing twice."""

import json

import numpy as np
import pytest

from launch.commands import launch, refused, succeeded, training
from vita_jax.train.weights import load_params

METRICS = {"validation_accuracy", "validation_loss", "test_accuracy", "test_loss", "epochs"}
FLAGS = {"task": "completion", "seeds": 2, "epochs": 30, "log_every": 10, "ss__gcn__n_outputs": 5}


@pytest.fixture(scope="module")
def run(graph, tmp_path_factory):
  """(workdir, stdout) of a finished run of two seeds."""
  workdir = tmp_path_factory.mktemp("run") / "new" / "folder"
  return workdir, succeeded(launch("train", *training(graph, workdir, **FLAGS)))


def _read(path):
  return json.loads(path.read_text())


def _rows(workdir):
  return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_the_workdir_holds_what_the_design_fixes(run):
  workdir, output = run
  assert {p.name for p in workdir.iterdir() if not p.name.startswith(".")} == {
    "config.json",
    "metrics.jsonl",
    "tensorboard",
    "checkpoints",
    "figures",
    "summary.json",
    "export",
  }
  assert any((workdir / "tensorboard").glob("events.*"))
  assert [p.name for p in (workdir / "checkpoints").iterdir()] == ["31"]
  assert {p.name for p in (workdir / "checkpoints" / "31").iterdir()} >= {"state", "params", "progress"}
  assert {p.name for p in (workdir / "figures").iterdir()} == {"curves.png", "embedding.png"}
  assert all(p.read_bytes().startswith(b"\x89PNG") for p in (workdir / "figures").iterdir())
  assert {p.name for p in (workdir / "export").iterdir()} == {"params.safetensors", "config.json"}
  assert "complete: ss_gcn, 2 seed(s)" in output and "test_accuracy" in output and str(workdir) in output


def test_the_json_files_have_the_fields_of_the_design(run):
  workdir, _ = run
  config, summary = _read(workdir / "config.json"), _read(workdir / "summary.json")
  assert config.keys() == {"config", "config_hash", "data", "arrays", "versions"}
  assert config["config"]["epochs"] == 30 and config["versions"].keys() >= {"vita_jax", "jax", "commit"}
  assert summary.keys() == {
    "experiment",
    "config_hash",
    "complete",
    "seeds",
    "steps",
    "seconds",
    "versions",
    "metrics",
    "frozen",
  }
  assert summary["experiment"] == "ss_gcn" and summary["complete"] is True and summary["seeds"] == [0, 1]
  assert summary["steps"] == [31, 31] and summary["seconds"] > 0
  assert summary["config_hash"] == config["config_hash"] and summary["metrics"].keys() == METRICS
  for entry in summary["metrics"].values():
    assert entry.keys() == {"mean", "std", "values", "diverged", "impossible"} and entry["diverged"] == 0
    np.testing.assert_allclose(entry["mean"], np.mean(entry["values"]))
    np.testing.assert_allclose(entry["std"], np.std(entry["values"]), atol=1e-15)
  assert summary["metrics"]["epochs"]["values"] == [30.0, 30.0]
  assert summary["metrics"]["test_accuracy"]["mean"] > 0.8
  exported = _read(workdir / "export" / "config.json")
  assert exported["config"] == config["config"] and exported["seed"] == 0


def test_the_rows_of_metrics_jsonl(run):
  rows = _rows(run[0])
  assert all(row.keys() == {"stage", "at", "step", "split", "metrics"} for row in rows)
  trained = [row for row in rows if row["split"] == "train"]
  at = {"ss_loss": [10, 20, 30, 31], "validation_loss": [9, 19, 29, 30]}  # means; as of the step observed
  for group in ({"loss", "ss_loss"}, {"validation_loss", "validation_accuracy"}):
    found = [row for row in trained if group & row["metrics"].keys()]
    assert all(row["metrics"].keys() == group for row in found)
    steps = at[next(name for name in at if name in group)]
    assert [(row["at"], row["step"]) for row in found] == [(step, step) for step in steps]
  assert all(len(values) == 2 for row in trained for values in row["metrics"].values())
  assert {(row["split"], row["step"]) for row in rows if row["split"] != "train"} == {
    ("validation", 31),
    ("test", 31),
  }


def test_the_same_command_again_says_complete_and_changes_nothing(run, graph):
  workdir, output = run
  before = {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file() and p.name != ".lock"}
  assert succeeded(launch("train", *training(graph, workdir, **FLAGS))) == output
  assert {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file() and p.name != ".lock"} == before


def test_two_devices_give_the_same_numbers(run, graph, tmp_path):
  workdir = tmp_path / "two"
  succeeded(launch("train", *training(graph, workdir, **FLAGS, mesh__seed=2), "--cpu_devices=2"))
  for one, two in zip(_rows(run[0]), _rows(workdir), strict=True):
    assert (one["step"], one["split"]) == (two["step"], two["split"])
    for name, values in one["metrics"].items():
      np.testing.assert_allclose(two["metrics"][name], values, atol=1e-5)
  ours, theirs = (load_params(w / "export" / "params.safetensors") for w in (workdir, run[0]))
  assert all(np.allclose(ours[name], theirs[name], atol=1e-4) for name in theirs)
  # A run on two devices can be looked at on one.
  assert "equal to summary.json" in succeeded(launch("evaluate", f"--workdir={workdir}"))


def test_evaluate_reprints_the_numbers_and_notices_an_altered_one(run):
  workdir, output = run
  path = workdir / "summary.json"
  original, summary = path.read_text(), _read(path)
  printed = succeeded(launch("evaluate", f"--workdir={workdir}"))
  assert [line for line in output.splitlines() if line.startswith("  ")] == [
    line for line in printed.splitlines() if line.startswith("  ")
  ]
  assert "written: " in output and "written: " not in printed  # it writes nothing
  summary["metrics"]["test_loss"]["values"][1] += 1e-3
  path.write_text(json.dumps(summary))
  try:
    done = launch("evaluate", f"--workdir={workdir}")
  finally:
    path.write_text(original)
  refused(done, "1 of", "differ from summary.json", "test_loss values[1]", "delete summary.json")
