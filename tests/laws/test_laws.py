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

from laws.lab import Lab
from laws.table import ROWS
from vita_jax import train
from vita_jax.data.resident import Resident, batch_at
from vita_jax.data.stream import read_batch
from vita_jax.train import checkpoint
from vita_jax.train.batches import per_replica, stage_data
from vita_jax.train.digest import digests
from vita_jax.train.weights import load_params


# Of the module, so that pytest holds one row to all laws before it takes the next.
@pytest.fixture(
  scope="module",
  params=[pytest.param(name, marks=[pytest.mark.slow] * row.slow) for name, row in ROWS.items()],
)
def lab(request, tmp_path_factory):
  yield Lab(request.param, tmp_path_factory.mktemp(request.param))
  jax.clear_caches()  # the programs of a row are of no use to the next


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


def test_state_survives_a_checkpoint_bit_for_bit(lab, tmp_path):
  experiment, state = lab.vmap.experiment, lab.vmap.stepped
  with checkpoint.open_manager(tmp_path, keep=1) as manager:
    progress = checkpoint.Progress(len(experiment.stages) - 1, 3, 7, 1.5)
    checkpoint.save(manager, progress, state, experiment.params(state), run={})
    checkpoint.finish(manager)
  found, again = checkpoint.restore(tmp_path / "checkpoints", lab.vmap.programs.abstract, warn=pytest.fail)
  assert again == progress
  assert jax.tree.structure(found) == jax.tree.structure(state)
  assert _bits(found) == _bits(state)


def test_killed_anywhere_and_resumed_is_the_uninterrupted_run(lab, tmp_path):
  config = lab.config(seeds=2, save_seconds=0.0, steps_per_call=3, keep_checkpoints=10_000)
  whole = tmp_path / "whole"

  def run(workdir):
    return train.run(lab.vmap.experiment, config, workdir, quiet=True, programs=lab.vmap.programs)

  summary = run(whole)
  saved = checkpoint.good_steps(whole / "checkpoints")
  assert len(saved) > 2
  for step in [random.Random(lab.name).choice(saved[:-1]), saved[-1]]:
    killed = tmp_path / f"killed_{step}"
    shutil.copytree(whole, killed, ignore=shutil.ignore_patterns("summary.json", "export", "figures"))
    for later in (s for s in saved if s > step):
      shutil.rmtree(killed / "checkpoints" / str(later))
    resumed = run(killed)
    ours, theirs = (load_params(folder / "export" / "params.safetensors") for folder in (killed, whole))
    assert ours.keys() == theirs.keys()
    assert all(ours[k].tobytes() == theirs[k].tobytes() for k in ours)
    assert resumed["metrics"] == summary["metrics"] and resumed["steps"] == summary["steps"]
    rows = [json.loads(line) for line in (killed / "metrics.jsonl").read_text().splitlines()]
    expected = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert rows == expected


def test_map_replicas_are_the_single_runs_bit_for_bit_and_vmap_ones_nearly(lab):
  params = lab.single.experiment.params
  for i in range(2):
    single = lab.single.steps(np.uint32(i))
    mapped = train.replica(lab.map.stepped, i)
    if lab.row.map_tolerance:
      _assert_close(mapped, single, lab.row.map_tolerance)
    else:
      assert _bits(mapped) == _bits(single)
    ours = jax.tree.leaves(params(train.replica(lab.vmap.stepped, i)))
    for leaf, expected in zip(ours, jax.tree.leaves(params(single)), strict=True):
      np.testing.assert_allclose(leaf, expected, atol=max(1e-5, lab.row.tolerance))


def test_a_run_of_more_calls_traces_no_more_often(lab):
  (_, first), *others = lab.trained
  assert first > 0 and all(traces == first for _, traces in others)


def test_chunks_of_any_length_give_the_same_bits_and_evals_do_not_change_them(lab):
  assert len({weights for weights, _ in lab.trained}) == 1


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_every_step_lowers_for_accelerators(lab, platform):
  for number, stage in enumerate(lab.vmap.experiment.stages):
    abstract = lab.vmap.programs.abstract(number)
    state = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), abstract)
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


QUICK = ("digits_resident", "digits_stream", "ss_gcn_partition")  # resident, streamed, a whole graph


@pytest.mark.parametrize(
  "names", [QUICK, pytest.param(tuple(name for name in ROWS if name not in QUICK), marks=pytest.mark.slow)]
)
def test_two_devices_compute_what_one_does(names, tmp_path):
  numbers = []
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
