"""launch/ss_gcn/attack.py and which_task.py on a small graph: files of every attack, faults named."""

import json
import shutil

import numpy as np
import pytest
from laws.small_graph import write_small_graph

from launch.commands import launch, refused, succeeded
from vita_jax.data import load_graph_npz

pytestmark = pytest.mark.slow
CUSTOM = "configs/ss_gcn/custom.py"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp("run")
  graph = write_small_graph(folder / "graph.npz")
  flags = (f"--config={CUSTOM}:none", f"--config.data.path={graph}", "--config.epochs=30")
  succeeded(launch("train", *flags, f"--workdir={folder}/run"))
  return folder, graph


@pytest.mark.parametrize(
  "attack,flip",
  [("nettack", "both"), ("pr_bcd", "links"), ("random", "links"), ("fgsm_features", "features")],
)
def test_an_attack_leaves_its_files(run, attack, flip):
  folder, _ = run
  flags = (f"--attack={attack}", f"--flip={flip}", "--budget=1,3", "--nodes=3,17,40")
  succeeded(launch("ss_gcn/attack", f"--workdir={folder}/run", *flags))
  out = folder / "run/attacks" / f"{attack}_{flip}"
  assert len((out / "results.csv").read_text().splitlines()) == 7
  found = json.loads((out / "robust.json").read_text())["robust_accuracy"]
  assert set(found) == {"1", "3"} and found["1"]["clean"] >= 0
  assert (out / "flips_3.npz").exists() and (out / "robust.png").exists()


def test_a_graph_that_was_attacked_as_a_whole_is_a_graph(run):
  folder, graph = run
  succeeded(launch("ss_gcn/attack", f"--workdir={folder}/run", "--attack=gr_bcd", "--budget=5"))
  found = load_graph_npz(folder / "run/attacks/gr_bcd_links/graph_5.npz")
  clean = load_graph_npz(graph)
  flips = {tuple(e) for e in found.edges.tolist()} ^ {tuple(e) for e in clean.edges.tolist()}
  assert len(flips) == round(0.05 * len(clean.edges))


SUITE = """
from vita_jax.report.suite import Row


def get_suite():
  settings = {{"data.path": {graph!r}, "epochs": 20, "seeds": 2}}
  plain = Row("small GCN", "configs/ss_gcn/custom.py:none", settings)
  return plain, Row("pruned", plain.config, {{**settings, "defence": "jaccard"}}, baseline="small GCN")


def get_columns():
  return ("nettack", "both", 1, 6, 2), ("pr_bcd", "links", 1, 2, 1)


def get_paper(label):
  return {{("both", 1): 0.5}} if label == "small GCN" else {{}}
"""


def test_a_table_of_what_stays_right_goes_on_where_it_was(run, tmp_path):
  (tmp_path / "table_small.py").write_text(SUITE.format(graph=run[1]))
  flags = (f"--suite={tmp_path}/table_small.py", f"--workdir={tmp_path}/table")
  printed = succeeded(launch("ss_gcn/robust_table", *flags))
  for words in ("nettack both 1", "pruned - small GCN", "50.0 [memory]"):
    assert words in printed
  kept = tmp_path / "table" / "results.jsonl"
  lines = kept.read_text().splitlines(keepends=True)
  assert len(lines) == 4
  kept.write_text("".join(lines[1:]))  # the columns of one row are lost
  assert succeeded(launch("ss_gcn/robust_table", *flags)) == printed
  values = [json.loads(line)["metrics"] for line in kept.read_text().splitlines()]
  assert values == [json.loads(line)["metrics"] for line in lines]
  elsewhere = [flags[0], f"--workdir={tmp_path}/elsewhere", f"--results={kept}"]
  assert succeeded(launch("ss_gcn/robust_table", *elsewhere)).replace("elsewhere", "table") == printed
  assert not (tmp_path / "elsewhere" / "small_gcn").exists()
  assert len((tmp_path / "table" / "robust.csv").read_text().splitlines()) == 5


def test_what_a_graph_can_teach_is_printed(run):
  _, graph = run
  printed = succeeded(launch("ss_gcn/which_task", f"--config={CUSTOM}", f"--config.data.path={graph}"))
  for word in ("left_out_accuracy", "purity", "r2"):
    assert word in printed


@pytest.mark.parametrize(
  "flags,words",
  [
    (("--attack=pr_bcd", "--flip=features"), "flips links, not features"),
    (("--attack=random", "--budget=0"), "at least 1"),
    (("--attack=random", "--budget=x"), "whole numbers"),
    (("--attack=random", "--budget="), "--budget= names none"),
    (("--attack=random", "--nodes="), "--nodes= names none"),
    (("--attack=random", "--nodes=500"), "target 500 is no node"),
  ],
)
def test_faults_are_one_line(run, flags, words):
  refused(launch("ss_gcn/attack", f"--workdir={run[0]}/run", *flags), words)


def test_a_run_that_is_not_finished_is_refused(run, tmp_path):
  shutil.copytree(run[0] / "run", tmp_path / "run")
  (tmp_path / "run/summary.json").unlink()
  refused(launch("ss_gcn/attack", f"--workdir={tmp_path}/run", "--attack=random"), "is not finished")


def test_a_weighted_graph_is_refused(run, tmp_path):
  arrays = dict(np.load(run[1]))
  weight = np.full(len(arrays["edges"]), 0.5)
  np.savez(tmp_path / "weighted.npz", **arrays, edge_weight=weight)
  flags = (f"--config={CUSTOM}:none", f"--config.data.path={tmp_path}/weighted.npz", "--config.epochs=2")
  succeeded(launch("train", *flags, f"--workdir={tmp_path}/run"))
  refused(launch("ss_gcn/attack", f"--workdir={tmp_path}/run", "--attack=random"), "edge_weight")
