"""Several processes compute what one does, and a checkpoint moves from one topology to another."""

import json
import shutil

import numpy as np
import pytest
from launch.commands import succeeded

from multiprocess.processes import alone, finished, worker

RUNS = {  # row -> (layout over 2 processes x 2 devices, tolerance)
  "digits_stream": ({"seeds": 2, "mesh__seed": 2, "mesh__data": 2}, 1e-5),
  "ss_gcn_partition": ({"seeds": 4, "mesh__seed": 4, "mesh__data": 1}, 1e-5),
  "wide": ({"mesh__model": 2, "mesh__data": 2}, 1e-5),
  "l2o_dm": ({"tasks": "vmap", "meta_batch": 4, "mesh__data": 4}, 1e-4),
}


def _metrics(workdir):
  """(step, split) -> metrics, of every row that does not depend on when a run was saved."""
  rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  return {(row["stage"], row["at"], row["split"]): row["metrics"] for row in rows}


def _assert_alike(workdir, expected, tolerance):
  ours, theirs = _metrics(workdir), _metrics(expected)
  assert ours.keys() == theirs.keys() and theirs
  for name, metrics in theirs.items():
    for metric, value in metrics.items():
      _close(ours[name][metric], value, tolerance, f"{name} {metric}")
  ours, theirs = (
    json.loads((folder / "summary.json").read_text())["metrics"] for folder in (workdir, expected)
  )
  for metric, entry in theirs.items():
    _close(ours[metric]["values"], entry["values"], 10 * tolerance, metric)


def _close(ours, theirs, tolerance, name):
  ours, theirs = (np.array(x, np.float64) for x in (ours, theirs))  # null, a metric not taken, is NaN
  np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize(
  "row", [pytest.param(row, marks=[pytest.mark.slow] * (row != "digits_stream")) for row in RUNS]
)
def test_two_processes_of_two_devices_compute_what_one_does(row, tmp_path):
  layout, tolerance = RUNS[row]
  quiet = finished(worker(row, tmp_path / "two", **layout))
  assert "Traceback" not in quiet
  on_one = {name: 1 if name.startswith("mesh") else value for name, value in layout.items()}
  succeeded(alone(row, tmp_path / "one", **on_one))
  _assert_alike(tmp_path / "two", tmp_path / "one", tolerance)
  for name in ("config.json", "summary.json", "export/params.safetensors", "checkpoints"):
    assert (tmp_path / "two" / name).exists(), name


@pytest.mark.slow
@pytest.mark.parametrize("shard", ["model", "fully"])
def test_a_checkpoint_resumes_on_another_topology(shard, tmp_path):
  """2 processes x 2 devices -> 1 process of 4 -> 1 device: the last steps are taken anew each time."""
  every = {"shard": shard, "save_seconds": 0.0, "keep_checkpoints": 40, "steps_per_call": 5}
  two = {"mesh__model": 2, "mesh__data": 2} if shard == "model" else {"mesh__data": 4}
  finished(worker("wide", tmp_path / "first", **every, **two))
  previous = tmp_path / "first"
  for name, devices, layout in (("four", 4, two), ("one", 1, {"mesh__data": 1, "mesh__model": 1})):
    workdir = tmp_path / name
    shutil.copytree(previous, workdir)
    _forget(workdir, after=10)
    done = alone("wide", workdir, devices=devices, **every, **layout)
    succeeded(done)
    assert "resuming" in done.stderr and "at step 10" in done.stderr and "damaged" not in done.stderr
    _assert_alike(workdir, tmp_path / "first", 1e-5)
    previous = workdir
  back = tmp_path / "back"  # and from one process to two
  shutil.copytree(previous, back)
  _forget(back, after=10)
  assert "at step 10" in finished(worker("wide", back, **every, **two))
  _assert_alike(back, tmp_path / "first", 1e-5)


def _forget(workdir, *, after):
  """Takes a finished run back to step `after`."""
  (workdir / "summary.json").unlink()
  for folder in (workdir / "checkpoints").iterdir():
    if folder.name.isdigit() and int(folder.name) > after:
      shutil.rmtree(folder)
