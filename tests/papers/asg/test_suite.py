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
  path = ROWS[f"{data}: asg"].overrides["controller.path"]
  assert path.rpartition("/")[2] == ROWS[f"{data}: controller"].folder
  assert ROWS[f"{data}: asg + wise_ft"].folder == ROWS[f"{data}: asg"].folder
  exchanged = ROWS["fonts: controller of emoji"].overrides["controller.path"]
  assert exchanged.rpartition("/")[2] == ROWS["emoji: four groups"].folder


def test_the_end_says_what_the_bars_come_to(tmp_path):
  def summary(old, kl):
    return {"metrics": {"old_head_accuracy": {"mean": old}, "kl": {"mean": kl}}}

  text = SUITE["finish"](
    {"fonts: proxy": summary(0.5, 0.1), "fonts: backbone_x01": summary(0.4, 1.0)}, tmp_path
  )
  assert "fonts: with the proxy the old head is +10.0 points, and L_KL 10.0 times smaller" in text


@pytest.mark.slow
def test_a_row_of_fonts_runs_to_its_end(tmp_path):
  row = ROWS["fonts: wise_ft"]
  name, _, method = row.config.partition(":")
  config = load_python_file(ROOT / name).get_config(method)
  config.update_from_flattened_dict(dict(row.overrides))
  tiny = {"data.real": "digits", "data.size": 8, "data.count": 60, "data.held_out": 20, "data.quick": 20}
  tiny |= {"model.width": 4, "pretrain.steps": 3, "finetune.steps": 4, "finetune.batch": 10, "seeds": 2}
  config.update_from_flattened_dict(tiny)
  summary = train.run(
    train.replicate(papers.build(config), 2, config.replicate), config, tmp_path, quiet=True
  )
  assert row.metric in summary["metrics"] and len(summary["metrics"][row.metric]["values"]) == 2
