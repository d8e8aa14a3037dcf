"""Comparing optimizers: what is read, which rows run, tuning apart from reporting, numbers and tables."""

import csv
import io
import json
import re

import jax
import numpy as np
import optax
import pytest
from scipy import stats

from vita_jax import optim
from vita_jax.optim import comparison
from vita_jax.optim.by_name import UNTRAINED, classical, digest, read_optimizer, schedule_of
from vita_jax.optim.comparison import Protocol, entrant, numbers
from vita_jax.report import Curve, make_lines, overlay, suite, summarize
from vita_jax.train.weights import save_params


@pytest.fixture(scope="module")
def export(tmp_path_factory):
  """The export folder of an L2O-DM with a tenth of the usual scale."""
  folder = tmp_path_factory.mktemp("export")
  save_params(folder / "params.safetensors", optim.KINDS["l2o_dm"].init_theta(jax.random.key(7)))
  config = {"config": {"optimizer": {"kind": "l2o_dm", "scale": 0.001}}}
  (folder / "config.json").write_text(json.dumps(config))
  return folder


class Runs:
  """Stands for `cli.run_row`: the loss of a row is the distance of its rate from 0.1, and its seed's part."""

  def __init__(self):
    self.rows = []

  def __call__(self, row):
    self.rows.append(row)
    seeds = range(row.overrides["seed"], row.overrides["seed"] + row.overrides["seeds"])
    rate = row.overrides["run.learning_rate"] or 0.1
    loss = [abs(np.log(rate / 0.1)) + 0.01 * seed + 0.1 if rate < 1 else None for seed in seeds]
    ln_loss = [np.log(x) if x else None for x in loss]
    metrics = {"loss": loss, "ln_loss": ln_loss, "accuracy": [0.9] * len(seeds), "microseconds": [5.0]}
    return {"seeds": list(seeds), "metrics": {name: summarize(values) for name, values in metrics.items()}}


def _compare(texts, tasks=("digits_mlp",), reference="", **options):
  runs = Runs()
  entrants = [entrant(text) for text in texts]
  found = comparison.compare(entrants, tasks, Protocol(**options), run=runs, reference=reference)
  return list(found), runs.rows


def test_a_rate_is_tuned_on_other_streams_and_only_where_it_is_not_given():
  (result,), rows = _compare(["sgd"], seeds=2, seed=7, grid=(0.01, 0.1, 3.0))
  tuning, reported = rows[:-1], rows[-1]
  assert [row.overrides["run.learning_rate"] for row in tuning] == [0.01, 0.1, 3.0]
  assert all(row.overrides["run.draws"] == "tuning" and row.overrides["seeds"] == 3 for row in tuning)
  assert "run.draws" not in reported.overrides and reported.overrides["seed"] == 7
  assert reported.overrides["run.learning_rate"] == result.rate == 0.1 and not result.at_edge
  assert result.grid[3.0] == np.inf and "**0.1: 0.11**" in comparison.tuning_text([result])
  assert "3: not finite" in comparison.notes([result])
  _, rows = _compare(["sgd"], seeds=2, grid=(0.1,), tuning_seeds=1)
  assert [row.overrides["seeds"] for row in rows] == [1, 2]
  (fixed,), rows = _compare(["sgd:0.5"], seeds=2)
  assert len(rows) == 1 and fixed.rate == 0.5 and not fixed.grid and comparison.tuning_text([fixed]) == ""


def test_the_best_rate_at_an_edge_is_said():
  (result,), _ = _compare(["adam"], grid=(0.01, 0.1))
  assert result.at_edge and "a better rate may lie outside" in comparison.notes([result])


def test_rows_are_unique_and_resolve():
  from vita_jax import cli

  texts = ["rnnprop-cl-il", "adam", "sgd:0.1", *UNTRAINED]
  results, rows = _compare(texts, ("digits_mlp", "digits_relu"), "adam", steps=500, grid=(0.1, 1.0))
  assert len(results) == 2 * len(texts)
  assert len({row.folder for row in rows}) == len(rows) == 2 * (len(texts) + 2 * 2)  # two are tuned
  for row in rows:
    config = cli.row_config(row, None)
    assert config.run.steps == 500 and config.experiment == "optimize" and config.log_every == 2
  assert results[0].row.baseline == "digits_mlp adam" and results[1].row.baseline == ""


def test_tables_have_paired_differences_and_all_values():
  results, _ = _compare(["adam:0.3", "sgd:0.01"], reference="adam:0.3", seeds=3)
  lines = make_lines([r.row for r in results], {r.row.label: r.summary for r in results})
  rows = list(csv.DictReader(io.StringIO(suite.comma_separated(lines))))
  ours, theirs = (r.summary["metrics"]["ln_loss"]["values"] for r in results[::-1])
  interval = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
  found = [float(rows[1][key]) for key in ("difference", "difference_low", "difference_high")]
  np.testing.assert_allclose(found, [np.mean(ours) - np.mean(theirs), *interval], rtol=1e-6)
  text = suite.markdown(lines, title="Optimizers")
  shown = re.search(r"\[(\S+), (\S+)\] to digits_mlp adam:0.3", text).groups()
  np.testing.assert_allclose([float(end) for end in shown], interval, atol=0.0051)  # two digits or more
  assert "paper" not in text


def test_numbers_of_made_up_losses():
  losses = np.concatenate([np.full(100, 1.0), np.full(200, np.exp(-2.6)), np.full(100, 0.5)])
  found = numbers(1.0, losses)
  assert (found["loss"], found["best_step"], found["steps"]) == (0.5, 200, 400)
  assert found["best_ln_loss"] == pytest.approx(-2.6) and found["ln_loss"] == pytest.approx(np.log(0.5))
  # -2.6 k/100 <= level after k steps.
  assert (found["steps_to_-1"], found["steps_to_-2"]) == (139, 177) and np.isnan(found["steps_to_-3"])
  assert np.isnan(numbers(0.49, losses)["ln_loss"]) and numbers(0.49, losses)["loss"] == 0.5
  assert not np.isnan(numbers(0.4999, losses)["ln_loss"])  # dead, not diverged
  losses[350:] = np.nan
  gone = numbers(1.0, losses)
  assert np.isnan(gone["ln_loss"]) and gone["best_step"] == 200
  zero = numbers(1.0, np.zeros(100))
  assert zero["ln_loss"] == pytest.approx(np.log(1e-12))


def test_a_figure_draws_the_seeds_that_did_not_diverge():
  steps, values = np.array([10, 20, 30]), np.array([[0.0, -1.0, -2.0], [0.0, -3.0, -4.0], [0.0, 9.0, np.nan]])
  mixed = Curve("mixed", steps, values, 1e-3, np.array([False, False, True]), note=" 0.1")
  gone = Curve("gone", steps, values[2:], 1e-3, np.array([True]), dashed=True)
  drawing = overlay({"task": [mixed, gone]}, ylabel="ln loss")
  left, right = drawing.axes
  np.testing.assert_allclose(left.lines[0].get_ydata(), [0.0, -2.0, -3.0])
  np.testing.assert_allclose(right.lines[0].get_xdata(), [0.01, 0.02, 0.03])
  assert [text.get_text() for text in left.texts] == ["mixed 0.1 (1 of 3 diverged)", "gone (1 of 1 diverged)"]
  assert left.get_ylim()[1] < 9  # what goes up leaves the panel


def test_optimizers_are_read_with_their_weights(export):
  mine = entrant(f"mine={export}")
  assert (mine.label, mine.rate) == ("mine", 0.0)
  found = read_optimizer(mine.name, 0.0, sha256=mine.sha256)
  assert (found.kind, found.options) == ("l2o_dm", {"scale": 0.001}) and digest(found) == mine.sha256
  with pytest.raises(ValueError, match="have changed: use another --workdir"):
    read_optimizer(mine.name, 0.0, sha256="0" * 64)
  assert entrant("adam").rate is None and entrant("adam:1e6").label == "adam:1e+06"
  assert read_optimizer("untrained-dm", 0.0).kind == "l2o_dm"


def test_bad_input_is_named(export, tmp_path):
  with pytest.raises(ValueError, match="unknown optimizer 'adma': did you mean 'adam'.*LABEL=FOLDER"):
    entrant("adma")
  for text in ("adam:", "adam:fast", "adam:-1", "adam:inf"):
    with pytest.raises(ValueError, match="the rate must be a positive number"):
      entrant(text)
  with pytest.raises(ValueError, match="unknown optimizer 'untrained-dm:0.1'"):
    entrant("untrained-dm:0.1")
  for text in ("=folder", "a b=folder"):
    with pytest.raises(ValueError, match="LABEL=FOLDER"):
      entrant(text)
  with pytest.raises(FileNotFoundError, match="give the export/ folder"):
    entrant(f"mine={tmp_path}/none")
  with pytest.raises(ValueError, match="'dm' has no learning rate"):
    read_optimizer("dm", 0.1)
  with pytest.raises(ValueError, match="'adam' has the rate 0: it must be a positive number"):
    read_optimizer("adam", 0.0)
  for change, words in (
    ({"steps": 99}, "at least 100"),
    ({"seeds": 0}, "at least 1"),
    ({"tuning_seeds": 0}, "tuning_seeds .0. .* at least 1"),
    ({"split": "tset"}, "did you mean 'test'"),
    ({"grid": (0.1, -1.0)}, "positive numbers"),
    ({"tasks": ["mnist_mpl"]}, "did you mean 'mnist_mlp'"),
    ({"texts": ["adam", "adam"]}, "'adam' is given twice"),
    ({"texts": []}, "no optimizer"),
  ):
    with pytest.raises(ValueError, match=words):
      _compare(**{"texts": ["adam"], **change})


def test_missing_images_are_found_before_anything_runs(monkeypatch, tmp_path):
  monkeypatch.delenv("VITA_DATA_DIR", raising=False)
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))

  def run(row):
    return pytest.fail("ran")

  with pytest.raises(FileNotFoundError, match="no images 'mnist'"):
    comparison.compare([entrant("adam")], ["digits_mlp", "mnist_mlp"], Protocol(), run=run)


def test_every_optimizer_of_optax_has_a_name_a_rate_and_a_schedule():
  for name, theirs in (("adamw", optax.adamw), ("lion", optax.lion), ("muon", optax.contrib.muon)):
    assert classical(name) is theirs and entrant(name).rate is None and entrant(f"{name}:0.1").rate == 0.1
  assert classical("chain") is None and classical("EmptyState") is None
  row = comparison.tuning_row("digits_mlp", entrant("lion"), Protocol(schedule="cosine"), 0.1)
  assert row.overrides["run.schedule"] == "cosine"
  for schedule, ends in (("constant", (1.0, 1.0)), ("cosine", (1.0, 0.0))):
    np.testing.assert_allclose([schedule_of(schedule, 100)(t) for t in (0, 100)], ends, atol=1e-7)
  with pytest.raises(ValueError, match="did you mean 'cosine'"):
    _compare(["adam"], schedule="cosin")


def test_the_general_optimizer_is_tuned_as_classical_ones_are():
  assert entrant("untrained-vita_mlp").rate is None and entrant("untrained-vita_mlp:0.01").rate == 0.01
  found = read_optimizer("untrained-vita_mlp", 0.01)
  assert found.options == {"scale": 1.0} and found.rate == 0.01
  with pytest.raises(ValueError, match="has the rate 0: it must be a positive number"):
    read_optimizer("untrained-vita_mlp", 0.0)


def _result(label, values, steps=200, microseconds=10.0):
  entries = {"ln_loss": {"values": values}, "microseconds": {"values": [microseconds] * len(values)}}
  row = comparison.report_row("bowl", entrant(label), Protocol(), 0.1)
  return comparison.Result("bowl", entrant(label), row, {"metrics": entries}, 0.1)


def test_results_are_kept_and_a_later_call_extends_them():
  first = comparison.record([_result("adam", [1.0]), _result("lion", [2.0])], Protocol())
  later = comparison.record([_result("lion", [3.0]), _result("sgd", [4.0])], Protocol(), first)
  assert [(row["optimizer"], row["values"]["ln_loss"]) for row in later] == [
    ("adam", [1.0]),
    ("lion", [3.0]),
    ("sgd", [4.0]),
  ]
  other = comparison.record([_result("lion", [5.0])], Protocol(schedule="cosine"), later)
  assert len(other) == 4 and json.loads(json.dumps(other)) == other


def test_at_equal_seconds_a_slow_optimizer_has_fewer_steps(tmp_path):
  results = [_result("adam", [0.0, 0.0]), _result("lion", [0.0, 0.0], microseconds=40.0)]
  for r, slope in zip(results, (1.0, 2.0), strict=True):
    folder = tmp_path / r.row.folder
    folder.mkdir()
    rows = [
      {
        "stage": "optimize",
        "at": t,
        "step": t,
        "split": "train",
        "metrics": {"ln_loss": [-slope * t, -slope * t + 1.0]},
      }
      for t in (50, 100, 150, 200)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  text = comparison.at_equal_seconds(results, tmp_path)
  assert "| bowl | adam | 0.002 | 200 | -199.500 |  |" in text
  assert "| bowl | lion | 0.002 | 50 | -99.500 | +100.000 [+100.000, +100.000] |" in text
