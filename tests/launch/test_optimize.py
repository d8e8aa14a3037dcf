"""launch/l2o/optimize.py: tables and figure, a second call that reuses the runs, and errors of one line."""

import csv
import io

import jax
import pytest

from launch.commands import launch, refused, succeeded
from vita_jax import optim
from vita_jax.train.weights import save_params


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
  """(flags, workdir, stdout) of a comparison of two optimizers."""
  folder = tmp_path_factory.mktemp("optimize")
  export = folder / "export"
  export.mkdir()
  save_params(export / "params.safetensors", optim.KINDS["rnnprop"].init_theta(jax.random.key(3)))
  (export / "config.json").write_text('{"config": {"optimizer": {"kind": "rnnprop"}}}')
  flags = (f"--optimizer=mine={export},adam", "--steps=120", "--seeds=2", "--rates=0.003,0.03")
  flags = (*flags, "--task=digits_mlp", f"--workdir={folder / 'C'}")
  return flags, folder / "C", succeeded(launch("l2o/optimize", *flags))


def test_the_table_and_the_figure_are_written(compared):
  _, workdir, output = compared
  text = (workdir / "table.md").read_text()
  assert text.strip() in output and "Loss at each rate in tuning" in text and "**0.03: " in text
  rows = list(csv.DictReader(io.StringIO((workdir / "table.csv").read_text())))
  assert [row["label"] for row in rows] == [f"digits_mlp {name}" for name in ("mine", "adam")]
  assert [row["diverged"] for row in rows] == ["0", "0"] and rows[0]["baseline"] == "digits_mlp adam"
  assert float(rows[1]["microseconds_mean"]) > 0
  assert (workdir / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_call_reuses_the_runs_and_says_the_same(compared):
  flags, workdir, output = compared
  before = {p: p.stat().st_mtime_ns for p in workdir.rglob("summary.json")}
  assert len(before) == 2 + 2
  assert succeeded(launch("l2o/optimize", *flags)) == output
  assert {p: p.stat().st_mtime_ns for p in before} == before


def test_bad_input_is_one_line(tmp_path):
  place = f"--workdir={tmp_path / 'never'}"
  refused(launch("l2o/optimize", "--optimizer=adma", "--task=digits_mlp", place), "'adma'", "adam")
  refused(launch("l2o/optimize", "--optimizer=adam", "--task=digits", place), "task 'digits'", "digits_mlp")
  refused(launch("l2o/optimize", "--optimizer=adam", place), "--task", code=2)
  flags = ("--optimizer=sgd:0.1", "--task=digits_mlp", "--reference=adam", place)
  refused(launch("l2o/optimize", *flags), "reference 'adam'", "sgd:0.1")
  assert not (tmp_path / "never").exists()
