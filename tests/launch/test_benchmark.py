"""launch/benchmark.py runs and prints its tables; how fast anything is, is not a matter for tests."""

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vita_jax import papers
from vita_jax.hands.sets import read_custom

ROOT = Path(__file__).parents[2]


def _benchmark(*arguments):
  environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
  command = [sys.executable, str(ROOT / "launch" / "benchmark.py"), *arguments]
  return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)


@pytest.mark.slow
def test_scale_counts_edges_seconds_and_bytes():
  done = _benchmark("scale", "--sizes=300,900", "--epochs=2")
  assert done.returncode == 0, done.stderr
  rows = [line.split() for line in done.stdout.splitlines() if re.match(r"\s+(300|900) ", line)]
  assert [row[0] for row in rows] == ["300", "900"]
  for nodes, edges, build, epoch, per_edge, peak, _ in rows:
    n_edges = int(edges.replace(",", ""))
    assert 9 * int(nodes) < n_edges <= 10 * int(nodes)  # duplicates and self-loops are cleaned
    assert min(float(x) for x in (build, epoch, per_edge, peak)) > 0
    assert float(epoch) * 1e3 / n_edges == pytest.approx(float(per_edge), rel=0.2, abs=1e-3)


@pytest.mark.parametrize("arguments", [[], ["speed"], ["scale", "--what=loop"]])
def test_what_to_measure_has_to_be_said(arguments):
  done = _benchmark(*arguments)
  assert done.returncode == 2
  assert done.stderr.strip().startswith("error: say what to measure, one of adv_logo, ")
  assert {*papers.PAPERS, "render", "loop", "scale", "gpu"} <= set(re.findall(r"\w+", done.stderr))


def test_a_flag_that_means_nothing_to_the_part_is_refused():
  done = _benchmark("start", "--graph=cora")
  assert done.returncode == 2
  assert done.stderr.strip() == "error: --graph means nothing to start, which has --repeats"


def test_gpu_has_nothing_to_do_on_a_cpu_unless_asked():
  done = _benchmark("gpu")
  assert done.returncode == 0 and done.stdout.startswith("no accelerator: jax sees only the CPU"), done.stderr
  assert len(done.stdout.splitlines()) == 1


def test_gpu_finds_the_steps_of_every_folder():
  """By file: what is imported is the slow test's matter."""
  folders = {file.parent.name for file in (ROOT / "launch" / "benchmarks").glob("*/gpu.py")}
  assert folders == {*papers.PAPERS, "render", "detectors"}


def test_the_hands_that_are_timed_pass_the_checks_of_hands(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(str(ROOT / "launch"))
  gpu = importlib.import_module("benchmarks.mm_hand.gpu")
  np.savez(tmp_path / "hands.npz", **gpu.sticks(32))
  assert len(read_custom(str(tmp_path / "hands.npz"), 32).train["image"]) == 36


@pytest.mark.slow
def test_gpu_prints_forms_and_a_step_of_each_paper():
  done = _benchmark("gpu", "--on_cpu", "--seconds=0.05")
  assert done.returncode == 0, done.stderr
  assert done.stdout.count("equal") >= 6 and "DIFFERENT" not in done.stdout
  assert "depth by scatter-min" in done.stdout
  for name in (
    *papers.PAPERS,
    "render, visibility",
    "render, shading and texture gradient",
    "render, silhouette and vertex gradient",
    "detectors",
  ):
    assert re.search(rf"\n  {name},.* cpu +[\d.]+ +[\d.]+ +[\d.,]+ +[\d.]+% +[\d.,]+", done.stdout), name


@pytest.mark.slow
def test_render_prints_its_rows_and_those_of_mitsuba_or_a_word(monkeypatch):
  monkeypatch.setenv("VITA_DATA_DIR", "")  # without the human figure
  done = _benchmark("render", "--sizes=300", "--repeats=1", "--seconds=0.01")
  assert done.returncode == 0, done.stderr
  for kind in (
    "visibility",
    "picture",
    "texture, cached",
    "texture, recomputed",
    "silhouette",
    "16 textures, alone",
    "16 silhouettes",
  ):
    assert re.search(rf"\n  \d+ +{kind} +\d+ x \d+( +[\d.]+){{2}}\n", done.stdout), kind
  row = r"\n\| texture gradient, visibility recomputed \| 256 x 256 \| [\d.,]+ \|\n"
  assert re.search(row, done.stdout) and re.search(r"\n\| in single views \| 128 x 128 \| ", done.stdout)
  pattern = r"texture / texture, cached +256 x 256( +[\d.]+){4}"
  assert re.search(pattern, done.stdout) or "without a comparison to Mitsuba: " in done.stdout


def test_bert_names_the_missing_peer_or_prints_ratios():
  done = _benchmark("bert_tickets", "--models=micro", "--repeats=1", "--seconds=0.01", "--weights=700000")
  if importlib.util.find_spec("torch"):
    assert done.returncode == 0, done.stderr
    assert re.search(r"vita_jax, 90 % pruned( +[\d.]+){2}( +[\d.]+ \([\d.]+\)){2} +\d+ +\d+", done.stdout)
    assert len(re.findall(r"magnitude_masks, (?:host|jit) +0\.6( +[\d.]+){2}", done.stdout)) == 2
  else:
    assert done.returncode == 1
    assert re.fullmatch(r"error: torch is missing, .*pip install 'vita_jax\[bench\]'", done.stderr.strip())
  assert _benchmark("bert_tickets", "--models=giant").stderr.startswith(
    "error: --models=giant is none of tiny"
  )


def test_comparison_names_the_missing_peer_or_prints_ratios():
  done = _benchmark("ss_gcn", "--repeats=1", "--seconds=0.01", "--seeds=2")
  if importlib.util.find_spec("torch_geometric"):
    assert done.returncode == 0, done.stderr
    assert re.search(r"vita_jax, 2 seeds at once( +[\d.]+){2}( +[\d.]+ \([\d.]+\)){2}", done.stdout)
  else:
    assert done.returncode == 1
    assert re.fullmatch(r"error: torch\w* is missing, .*pip install 'vita_jax\[bench\]'", done.stderr.strip())
