"""The laws of vita_jax/train, held against every experiment of the table."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from laws.table import ROWS
from vita_jax import train
from vita_jax.data.resident import Resident, batch_at
from vita_jax.data.stream import read_batch
from vita_jax.train import checkpoint
from vita_jax.train.batches import per_replica, stage_data
from vita_jax.train.digest import digests
from vita_jax.train.mesh import make_mesh
from vita_jax.train.programs import make_programs
from vita_jax.train.weights import load_params

every_experiment = pytest.mark.parametrize(
  "name", [pytest.param(name, marks=[pytest.mark.slow] * row.slow) for name, row in ROWS.items()]
)


def _bits(tree):
  return digests({k: jnp.asarray(leaf) for k, leaf in checkpoint.flatten(tree).items()})


def _assert_close(tree, expected, tolerance):
  ours, theirs = checkpoint.flatten(tree), checkpoint.flatten(expected)
  assert ours.keys() == theirs.keys()
  for name, x in theirs.items():
    if jnp.issubdtype(x.dtype, jnp.floating):
      np.testing.assert_allclose(ours[name], x, rtol=tolerance, atol=tolerance, err_msg=name)
    else:
      assert _bits(ours[name]) == _bits(x), name


def _start(name, folder, replicas=None, how="vmap"):
  config = ROWS[name].config(folder)
  experiment = ROWS[name].build(config)
  if replicas:
    experiment = train.replicate(experiment, replicas, how)
  programs = make_programs(experiment, make_mesh(config.mesh), on_nonfinite="stop")
  seeds = np.arange(replicas, dtype=np.uint32) if replicas else np.uint32(0)
  return config, experiment, programs, programs.place(seeds)


def _steps(experiment, programs, state, seeds, n):
  """`n` steps of every stage, one at a time, without the loop; returns the last state and metrics."""
  sums = None
  for stage in experiment.stages:
    state = programs.enter(stage, state)
    single = programs.single(stage, state)
    at, bad = programs.place(np.int32(0)), programs.place(np.bool_(False))
    for t in range(n):
      streamed = {}
      if not isinstance(stage.data, Resident):
        streamed = {"data": read_batch(stage.data, np.asarray(seeds).tolist(), t)}
      state, at, sums, bad = single(state, seeds, at, bad, streamed)
  return state, jax.device_get(sums)


@every_experiment
def test_state_survives_a_checkpoint_bit_for_bit(name, tmp_path):
  _, experiment, programs, seeds = _start(name, tmp_path, replicas=2)
  state, _ = _steps(experiment, programs, programs.init(seeds), seeds, 3)
  with checkpoint.open_manager(tmp_path, keep=1) as manager:
    progress = checkpoint.Progress(len(experiment.stages) - 1, 3, 7, 1.5)
    checkpoint.save(manager, progress, state, experiment.params(state), config={}, config_hash="")
    checkpoint.finish(manager)
  found, again = checkpoint.restore(tmp_path / "checkpoints", programs.abstract, warn=pytest.fail)
  assert again == progress
  assert jax.tree.structure(found) == jax.tree.structure(state)
  assert _bits(found) == _bits(state)


@every_experiment
def test_killed_anywhere_and_resumed_is_the_uninterrupted_run(name, tmp_path):
  config = ROWS[name].config(tmp_path)
  config.update({"seeds": 2, "save_seconds": 0.0, "steps_per_call": 3, "keep_checkpoints": 10_000})
  experiment = train.replicate(ROWS[name].build(config), 2)
  whole = tmp_path / "whole"
  summary = train.run(experiment, config, whole, quiet=True)
  saved = checkpoint.good_steps(whole / "checkpoints")
  assert len(saved) > 2
  for step in [random.Random(name).choice(saved[:-1]), saved[-1]]:
    killed = tmp_path / f"killed_{step}"
    shutil.copytree(whole, killed, ignore=shutil.ignore_patterns("summary.json", "export", "figures"))
    for later in (s for s in saved if s > step):
      shutil.rmtree(killed / "checkpoints" / str(later))
    resumed = train.run(experiment, config, killed, quiet=True)
    ours, theirs = (load_params(folder / "export" / "params.safetensors") for folder in (killed, whole))
    assert ours.keys() == theirs.keys()
    assert all(ours[k].tobytes() == theirs[k].tobytes() for k in ours)
    assert resumed["metrics"] == summary["metrics"] and resumed["steps"] == summary["steps"]
    rows = [json.loads(line) for line in (killed / "metrics.jsonl").read_text().splitlines()]
    expected = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert rows == expected


@every_experiment
def test_map_replicas_are_the_single_runs_bit_for_bit_and_vmap_ones_nearly(name, tmp_path):
  _, experiment, programs, _ = _start(name, tmp_path)
  results = {}
  for how in ("map", "vmap"):
    _, replicated, many, seeds = _start(name, tmp_path, replicas=2, how=how)
    results[how], _ = _steps(replicated, many, many.init(seeds), seeds, 4)
  for i in range(2):
    seed = programs.place(np.uint32(i))
    single, _ = _steps(experiment, programs, programs.init(seed), seed, 4)
    mapped = train.replica(results["map"], i)
    if ROWS[name].map_tolerance:
      _assert_close(mapped, single, ROWS[name].map_tolerance)
    else:
      assert _bits(mapped) == _bits(single)
    ours = jax.tree.leaves(experiment.params(train.replica(results["vmap"], i)))
    for leaf, expected in zip(ours, jax.tree.leaves(experiment.params(single)), strict=True):
      np.testing.assert_allclose(leaf, expected, atol=max(1e-5, ROWS[name].tolerance))


@every_experiment
def test_a_longer_run_traces_no_more_often(name, tmp_path):
  counts = []
  for calls in (2, 5):
    config = ROWS[name].config(tmp_path)
    config.steps_per_call = 4
    experiment = ROWS[name].build(config)
    traces = []

    def counting(step, traces=traces):
      return lambda *args: (traces.append(0), step(*args))[1]

    changes = {"steps": 4 * calls, "done": train.never}
    stages = tuple(s._replace(step=counting(s.step), **changes) for s in experiment.stages)
    train.run(experiment._replace(stages=stages), config, tmp_path / str(calls), quiet=True)
    counts.append(len(traces))
  assert counts[0] == counts[1] > 0


@every_experiment
def test_a_chunk_of_any_length_gives_the_same_bits(name, tmp_path):
  found = set()
  for length in (2, 5, 50):
    config = ROWS[name].config(tmp_path)
    config.steps_per_call = length
    train.run(ROWS[name].build(config), config, tmp_path / str(length), quiet=True)
    found.add((tmp_path / str(length) / "export" / "params.safetensors").read_bytes())
  assert len(found) == 1


@every_experiment
def test_evals_do_not_change_the_result(name, tmp_path):
  found = set()
  for kept in (True, False):
    config = ROWS[name].config(tmp_path)
    experiment = ROWS[name].build(config)
    evals = {k: e._replace(every=3) for k, e in experiment.evals.items()} if kept else {}
    report = experiment.report if kept else None
    train.run(experiment._replace(evals=evals, report=report), config, tmp_path / str(kept), quiet=True)
    found.add((tmp_path / str(kept) / "export" / "params.safetensors").read_bytes())
  assert len(found) == 1


@every_experiment
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_every_step_lowers_for_accelerators(name, platform, tmp_path):
  _, experiment, programs, seeds = _start(name, tmp_path, replicas=2)
  for number, stage in enumerate(experiment.stages):
    state = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), programs.abstract(number))
    one = {name: _abstract_rows(data) for name, data in stage_data(stage).items()}
    batch = {**one.pop("data"), **one}
    # Typed keys cannot cross an export boundary: they go in as their data.
    data = jax.tree.map(_raw, state)
    types = jax.tree.map(lambda x: x.dtype, state)

    def step(data, batch, t, stage=stage, types=types):
      state = jax.tree.map(lambda x, d: jax.random.wrap_key_data(x) if _is_key(d) else x, data, types)
      new, metrics = stage.step(state, batch, t)
      return jax.tree.map(lambda x: jax.random.key_data(x) if _is_key(x.dtype) else x, new), metrics

    t = jax.ShapeDtypeStruct((), jnp.int32)
    module = jax.export.export(jax.jit(step), platforms=[platform])(data, batch, t).mlir_module()
    assert "cpu_csr" not in module and len(module) > 1000


def _abstract_rows(data):
  """Shapes of a batch as two replicas see it."""
  if isinstance(data, Resident):
    one = jax.eval_shape(lambda: batch_at(data, data.arrays, 0, 0))
  else:
    one = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, read_batch(data, 0, 0)))
  if not per_replica(data):
    return one
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct((2, *x.shape), x.dtype), one)


def _is_key(dtype):
  return jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key)


def _raw(x):
  return jax.ShapeDtypeStruct((*x.shape, 2), jnp.uint32) if _is_key(x.dtype) else x


@pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two_devices_compute_what_one_does(slow, tmp_path):
  names, numbers = [name for name, row in ROWS.items() if row.slow == slow], []
  for devices in (1, 2):
    out = tmp_path / f"{devices}.json"
    script = Path(__file__).parent / "on_devices.py"
    command = [sys.executable, script, str(devices), str(tmp_path), str(out), *names]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    numbers.append(json.loads(out.read_text()))
  for name in names:
    tolerance = ROWS[name].tolerance
    close = {"rtol": tolerance, "atol": tolerance, "err_msg": name}
    for metric, values in numbers[0][name].items():
      ours, theirs = (np.array(x, float) for x in (numbers[1][name][metric], values))  # None is NaN
      np.testing.assert_allclose(ours, theirs, **close)


def test_a_run_may_log_nothing(tmp_path):
  config = ROWS["digits_resident"].config(tmp_path)
  config.log_every = 0
  experiment = ROWS["digits_resident"].build(config)._replace(evals={})
  summary = train.run(experiment, config, tmp_path, quiet=True)
  assert summary["complete"] and summary["steps"] == [20]
