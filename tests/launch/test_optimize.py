"""launch/l2o/optimize.py: tables and figure, a second call that reuses the runs, and errors of one line."""

import csv
import io
import signal

import jax
import pytest

from launch.commands import launch, refused, start, succeeded, wait_for
from vita_jax import optim
from vita_jax.train.weights import save_params


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
  """(flags, workdir, stdout) of a comparison of three optimizers on two tasks."""
  folder = tmp_path_factory.mktemp("optimize")
  export = folder / "export"
  export.mkdir()
  save_params(export / "params.safetensors", optim.KINDS["rnnprop"].init_theta(jax.random.key(3)))
  (export / "config.json").write_text('{"config": {"optimizer": {"kind": "rnnprop"}}}')
  flags = (f"--optimizer=mine={export},adam,sgd:1e6", "--steps=120", "--seeds=2", f"--workdir={folder / 'C'}")
  flags = (*flags, "--task=digits_mlp,digits_relu")
  return flags, folder / "C", succeeded(launch("l2o/optimize", *flags))


def test_the_table_and_the_figure_are_written(compared):
  _, workdir, output = compared
  text = (workdir / "table.md").read_text()
  assert text.strip() in output and "## digits_relu" in text and "Loss at each learning rate" in text
  rows = list(csv.DictReader(io.StringIO((workdir / "table.csv").read_text())))
  assert [(r["task"], r["optimizer"]) for r in rows] == [
    (task, label) for task in ("digits_mlp", "digits_relu") for label in ("mine", "adam", "sgd:1e+06")
  ]
  assert [r["tuned"] for r in rows[:3]] == ["False", "True", "False"] and rows[2]["diverged"] == "2"
  assert (workdir / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_call_reuses_the_runs_and_says_the_same(compared):
  flags, workdir, output = compared
  before = {p: p.stat().st_mtime_ns for p in (workdir / "runs").rglob("*.npz")}
  assert len(before) == 2 * (2 + 27 + 2 + 2)
  assert succeeded(launch("l2o/optimize", *flags)) == output
  assert {p: p.stat().st_mtime_ns for p in (workdir / "runs").rglob("*.npz")} == before


def test_an_interrupted_comparison_goes_on(tmp_path):
  flags = ("--optimizer=sgd:0.1,adam:0.01", "--task=digits_mlp", "--steps=100000", "--seeds=1")
  process = start("l2o/optimize", *flags, f"--workdir={tmp_path}")
  wait_for(lambda: list(tmp_path.rglob("sgd*.npz")), process)
  process.send_signal(signal.SIGINT)
  _, errors = process.communicate(timeout=600)
  assert process.returncode == 130 and "goes on from what was saved" in errors and "Traceback" not in errors
  (kept,) = tmp_path.rglob("sgd*.npz")
  before = kept.stat().st_mtime_ns
  succeeded(launch("l2o/optimize", "--optimizer=sgd:0.1", *flags[1:], f"--workdir={tmp_path}"))
  assert kept.stat().st_mtime_ns == before


def test_bad_input_is_one_line(tmp_path):
  place = f"--workdir={tmp_path / 'never'}"
  refused(launch("l2o/optimize", "--optimizer=adma", "--task=digits_mlp", place), "'adma'", "adam")
  refused(launch("l2o/optimize", "--optimizer=adam", "--task=digits", place), "task 'digits'", "digits_mlp")
  refused(launch("l2o/optimize", "--optimizer=adam", place), "--task", code=2)
  flags = ("--optimizer=sgd:0.1", "--task=digits_mlp", "--reference=adam", place)
  refused(launch("l2o/optimize", *flags), "reference 'adam'", "sgd:0.1")
  assert not (tmp_path / "never").exists()
