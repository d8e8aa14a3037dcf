"""The table: rows train what a search before them found, and its end says what the bars come to."""

import json
import runpy

import numpy as np
import pytest
from golden.update import ROOT

from vita_jax.base.files import load_python_file
from vita_jax.papers.autopose.recipe import METHODS, SEARCHES, recipe_of
from vita_jax.papers.autopose.steps import updates_of

SUITE = runpy.run_path(str(ROOT / "configs/autopose/table.py"))
ROWS = SUITE["get_suite"]()
LABELS = [row.label for row in ROWS]


def test_every_method_has_a_row_and_what_a_search_found_is_trained_after_it():
  methods = {row.config.partition(":")[2].partition(":")[0] for row in ROWS if "pedestrians.py" in row.config}
  assert methods == set(METHODS)
  searched = {row.folder: i for i, row in enumerate(ROWS) if row.metric == "supernet_score"}
  assert len(searched) == len(SEARCHES) + 1
  used = set()
  for i, row in enumerate(ROWS):
    genotype = row.config.partition(":retrain:")[2]
    if genotype.startswith(SUITE["FOLDER"]):  # not where the runs lie: a row is the same on every machine
      folder, *part = genotype.removeprefix(SUITE["FOLDER"] + "/").split("/")
      assert searched[folder] < i and row.metric != "supernet_score"
      assert part[-1].partition("#")[0] in ROWS[searched[folder]].keep
      # One seed is a run in the row's own folder, several are in parts.
      several = ROWS[searched[folder]].overrides["seeds"] > 1
      assert part[:-1] == (["seed_{seed}"] if several else [])
      used.add(folder)
  assert used == searched.keys()
  start = next(row for row in ROWS if "init_from" in row.overrides).overrides["init_from"]
  assert start == f"{SUITE['RUNS']}/figures_all_edges/seed_0" and LABELS.index(
    "figures: all_edges"
  ) < LABELS.index("pedestrians: all_edges after figures")


def test_the_ten_that_are_ranked_are_all_that_their_search_scores():
  row = ROWS[LABELS.index("rank: supernet")]
  name, _, argument = row.config.partition(":")
  config = load_python_file(ROOT / name).get_config(argument)
  config.update_from_flattened_dict(dict(row.overrides))
  recipe = recipe_of(config)
  assert (
    updates_of(recipe) * recipe.controller.samples == recipe.derive.candidates == recipe.derive.keep == 10
  )


def _summary(seconds=600.0, **values):
  metrics = {k.replace("__", "."): {"mean": float(np.mean(v)), "values": v} for k, v in values.items()}
  return {"seeds": [0, 1], "seconds": seconds, "metrics": metrics}


@pytest.fixture
def finished(tmp_path, monkeypatch):
  """(summaries, workdir) of runs on 40 people of 17 keypoints, of which all_edges finds one more each."""
  monkeypatch.setitem(SUITE["finish"].__globals__, "RUNS", str(tmp_path))
  right = {"all_edges": 9, "no_edges": 8, "single_branch": 8, "found search": 9}
  right |= {f"random_{i}": 8 + (i > 2) for i in range(5)}  # 8.4 on average
  summaries = {}
  for name, count in right.items():
    summaries[f"pedestrians: {name}"] = _summary(pck_0__2=[count / 17] * 2, supernet_score=[0.5, 0.6])
    for seed in (0, 1):
      folder = tmp_path / f"pedestrians_{name.replace(' ', '_')}" / f"seed_{seed}"
      folder.mkdir(parents=True)
      content = {"picture": list(range(600, 800, 5)), "labelled": [17] * 40, "pck_0.2": [count] * 40}
      (folder / "people.json").write_text(json.dumps(content))
  (tmp_path / "references.json").write_text('{"movenet_thunder at 64 pixels": 0.5}')
  return summaries, tmp_path


def test_the_end_says_what_the_bars_come_to(finished):
  summaries, workdir = finished
  for i in range(10):
    summaries[f"rank: {i}"] = _summary(supernet_score=[0.1 * i] * 2, pck_0__2=[0.05 * i] * 2)
  rewards = dict(reward_last=[0.5, 0.5], uniform_last=[0.4, 0.4], median_pose_score=[0.45] * 2)
  errors = dict(lead_last=[0.1, 0.1], lead_last_error=[0.05, 0.05])
  own = _summary(7200.0, **rewards, **errors, supernet_score=[0.5, 0.6])
  summaries["pedestrians: search search"] = own
  summaries["mouse: all_edges"] = _summary(pck_0__1=[0.6, 0.7])
  text = SUITE["finish"](summaries, workdir)
  for line in (
    "all_edges is +5.9 points from no_edges (goal: +3, and an interval above 0); 95 % interval [+5.9, +5.9]",
    "over 2 seeds and 40 crops, those of 20 frames drawn together",
    "five random networks 49.4 on average, the best 52.9.",
    "To the average of these five it is +3.5 points; 95 % interval [+3.5, +3.5]",
    "10 uniform draws, one training of each: 1.00 (standard error of no relation at all 0.25)",
    "0.5000, of uniform draws on the same rows 0.4000: +0.1000 ± 0.0354",  # sqrt(2 * 0.05^2) / 2
    "has 0.5500 on held rows, the median pose, without a network, 0.4500",
    "mouse: all_edges: pck_0.1 0.650 (bar: 0.65)",
    "a search took 1.00 hours of",
    "movenet_thunder at 64 pixels 50.0",
  ):
    assert line in text


def test_seeds_that_all_diverged_stop_nothing(finished):
  summaries, workdir = finished
  summaries["pedestrians: no_edges"]["metrics"]["pck_0.2"] = {"mean": None, "values": [None, None]}
  (workdir / "pedestrians_no_edges" / "seed_1" / "people.json").unlink()
  text = SUITE["finish"](summaries, workdir)
  assert "all_edges is +nan points from no_edges (goal: +3, and an interval above 0); no interval: a" in text


def test_what_was_trained_is_what_its_search_found(finished):
  """A search that is run anew finds another network, and runs that trained the old one are known by name."""
  summaries, workdir = finished
  scores = dict(reward_last=[0.5] * 2, uniform_last=[0.4] * 2, lead_last=[0.1] * 2)
  scores |= dict(lead_last_error=[0.1] * 2, supernet_score=[0.5, 0.6], median_pose_score=[0.4] * 2)
  summaries["pedestrians: search search"] = _summary(**scores)
  summaries["pedestrians: found search"] = _summary(pck_0__2=[0.5, 0.5], supernet_score=[0.5, 0.6])
  SUITE["finish"](summaries, workdir)
  summaries["pedestrians: found search"] = _summary(pck_0__2=[0.5, 0.5], supernet_score=[0.5, 0.7])
  with pytest.raises(ValueError, match="'pedestrians: found search', seed 1, has trained another network"):
    SUITE["finish"](summaries, workdir)


def test_a_table_whose_rows_look_elsewhere_is_refused_after_its_first_row(finished, tmp_path):
  first = {"pedestrians: all_edges": finished[0]["pedestrians: all_edges"]}
  with pytest.raises(ValueError, match="set VITA_AUTOPOSE_RUNS=.*other"):
    SUITE["finish"](first, tmp_path / "other")
