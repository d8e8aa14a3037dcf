"""The table: every method has a row in both halves, controllers go where they are named, a tiny row runs."""

import runpy

import pytest
from golden.update import ROOT

from vita_jax import papers, train
from vita_jax.base.files import load_python_file
from vita_jax.papers.asg.recipe import METHODS

SUITE = runpy.run_path(str(ROOT / "configs/asg/table.py"))
ROWS = {row.label: row for row in SUITE["get_suite"]()}


@pytest.mark.parametrize("data", ["emoji", "fonts"])
def test_every_method_has_a_row_and_controllers_are_those_of_its_rows(data):
  assert {f"{data}: {method}" for method in METHODS} <= ROWS.keys()
  assert ROWS[f"{data}: asg + wise_ft"].folder == ROWS[f"{data}: asg"].folder


def test_a_controller_is_trained_by_an_earlier_row_in_the_folder_that_later_ones_name():
  """A row of several seeds, computed one by one, has its runs in folders of their seeds: it is no source."""
  trains, taken = {}, set()
  for row in ROWS.values():
    if path := row.overrides.get("controller.path"):
      source = trains[path.rpartition("/")[2]]  # KeyError: not there yet
      assert source.overrides["seeds"] == 1 and source.config.endswith(":asg")
      taken.add(source.label)
      seeds = range(row.overrides.get("seed", 0), row.overrides.get("seed", 0) + row.overrides["seeds"])
      assert source.overrides["seed"] not in seeds, "a controller is tried on what it was not trained on"
    elif row.config.endswith(":asg"):
      trains[row.folder] = row
  assert len(taken) == len(trains) == 3


def _config(row):
  name, _, method = row.config.partition(":")
  config = load_python_file(ROOT / name).get_config(method)
  config.update_from_flattened_dict(dict(row.overrides))
  return config


def test_methods_are_compared_at_equal_rates_and_all_that_have_the_proxy_with_one_weight():
  for data in ("emoji", "fonts"):
    rows = [ROWS[f"{data}: {method}"] for method in METHODS]
    assert not any("finetune.rate" in row.overrides for row in rows)
    weights = {row.overrides["proxy.weight"] for row in rows if "proxy.weight" in row.overrides}
    assert len(weights) == 1


def _summary(**values):
  metrics = {name: {"values": x, "mean": sum(x) / len(x)} for name, x in values.items()}
  return {"seeds": list(range(len(next(iter(values.values()))))), "metrics": metrics}


def test_the_end_says_what_the_bars_come_to(tmp_path):
  real = "real_mean_class_accuracy"
  found = {
    "fonts: proxy": _summary(old_head_accuracy=[0.5, 0.52], kl=[0.1, 0.2], **{real: [0.3, 0.3]}),
    "fonts: backbone_x01": _summary(
      old_head_accuracy=[0.4, 0.42], teacher_old_head_accuracy=[0.5, 0.5], kl=[1.0, 1.0], **{real: [0.2, 0.4]}
    ),
    "fonts: asg": _summary(own_reward=[0.3, 0.31, 0.4], **{real: [0.3, 0.4, 0.5]}),
    "fonts: random_policy": _summary(own_reward=[0.2, 0.21, 0.3], **{real: [0.4, 0.5, 0.6]}),
  }
  text = SUITE["finish"](found, tmp_path)
  assert "at the same rates: the old head is +10.0 [+10.0, +10.0] points (bar: +5; up to" in text
  assert "up to the teacher's there are 9.0), L_KL 7.5 times smaller, at least 5.0 (bar: 5)" in text
  assert "own reward (bar: above 0): +0.1000 [+0.1000, +0.1000]" in text
  assert "learned against random policy on real pictures (bar: not below 0): -10.0 [-10.0, -10.0]" in text
  assert (
    "best of all methods on real pictures, over 2 seeds: random_policy, 45.0" in text and "emoji" not in text
  )
  with pytest.raises(ValueError, match="set VITA_ASG_RUNS"):
    SUITE["finish"]({"fonts: controller": found["fonts: asg"]}, tmp_path)


def test_what_is_chosen_costs_no_accuracy_and_holds_most():
  search = runpy.run_path(str(ROOT / "configs/asg/table_search.py"))
  rows = search["get_suite"]()
  assert len({row.label for row in rows}) == len(rows) and all(row.metric.startswith("synth") for row in rows)
  scores = {"0.1": (0.60, 3.0), "0.3": (0.595, 1.0), "1": (0.55, 0.1)}  # a standard error is 0.0155
  assert search["chosen"](scores) == "0.3"
  summaries = {
    f"emoji: proxy, {name}": _summary(synthetic_mean_class_accuracy=[a], kl=[x])
    for name, (a, x) in scores.items()
  }
  assert "- emoji: proxy: 0.3\n" in search["finish"](summaries, None)
  summaries["emoji: proxy, 1"] = _summary(synthetic_mean_class_accuracy=[0.6], kl=[0.1])
  assert "- emoji: proxy: 1, the largest tried\n" in search["finish"](summaries, None)
  assert search["chosen"]({"1": (1.0, 0.2), "2": (0.999, 0.1)}) == "2"  # none wrong is not without an error
  for row in rows:
    config = _config(row)
    assert config.seed == 100 and config.data.held_out == search["HELD_OUT"]
    data = row.label.partition(":")[0]
    assert "rate of" in row.label or config.finetune.rate == search["AT"][data]


def test_strengths_that_were_searched_at_another_rate_than_the_chosen_one_are_not_final():
  search = runpy.run_path(str(ROOT / "configs/asg/table_search.py"))

  def said(best, lead):
    rates = {f"{rate:g}": 0.5 + lead * (rate == best) for rate in search["RATES"]["emoji"]}
    found = {
      f"emoji: rate of {method}, {name}": _summary(synthetic_mean_class_accuracy=[x], kl=[1.0])
      for method in search["RATED"]
      for name, x in rates.items()
    }
    return search["finish"](found, None)

  assert "rate 0.002 (means" in said(2e-3, 0.1) and "at 0.005: search them again" in said(2e-3, 0.1)
  assert "rate 0.005 (means" in said(5e-3, 0.1) and "again" not in said(5e-3, 0.1)
  assert "rate 0.005 (means" in said(2e-3, 0.01) and "again" not in said(2e-3, 0.01)  # within an error, 0.016


@pytest.mark.slow
def test_a_row_of_fonts_runs_to_its_end(tmp_path):
  row = ROWS["fonts: wise_ft"]
  config = _config(row)
  tiny = {"data.real": "digits", "data.size": 8, "data.count": 60, "data.held_out": 20, "data.quick": 20}
  tiny |= {"model.width": 4, "pretrain.steps": 3, "finetune.steps": 4, "finetune.batch": 10, "seeds": 2}
  config.update_from_flattened_dict(tiny)
  summary = train.run(
    train.replicate(papers.build(config), 2, config.replicate), config, tmp_path, quiet=True
  )
  assert row.metric in summary["metrics"] and len(summary["metrics"][row.metric]["values"]) == 2
