"""What holds the state: layouts over devices, checkpoints, replicas, and weights to start from."""

import gc
import json
import sys
import types

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from train import tiny
from vita_jax import train
from vita_jax.data import Resident
from vita_jax.train import checkpoint
from vita_jax.train.digest import digests
from vita_jax.train.mesh import check_layout, make_mesh
from vita_jax.train.shardings import state_shardings
from vita_jax.train.weights import load_params, save_params

ONE = {"seed": 1, "data": -1, "model": 1}


def test_the_mesh_has_auto_axes_and_covers_all_devices():
  mesh = make_mesh(ONE)
  assert mesh.axis_names == ("seed", "data", "model") and mesh.size == jax.device_count()
  assert mesh.axis_types == (AxisType.Auto,) * 3  # Explicit, jax's default, breaks gathers


@pytest.mark.parametrize(
  "layout",
  [
    {"seed": 64, "data": -1, "model": 1},
    {"seed": -1, "data": -1, "model": 1},
    {"seed": 64, "data": 1, "model": 1},
    {"seed": 0, "data": -1, "model": 1},
  ],
)
def test_a_layout_that_does_not_fit_the_devices_is_refused_in_one_line(layout):
  with pytest.raises(ValueError, match=r"config.mesh seed=.*device\(s\).*--cpu_devices") as error:
    make_mesh(layout)
  assert "\n" not in str(error.value)


def test_a_layout_that_does_not_fit_the_experiment_is_refused():
  mesh = jax.sharding.AbstractMesh((2, 3, 1), ("seed", "data", "model"))
  with pytest.raises(ValueError, match="config.mesh.seed=2 does not divide config.seeds=3"):
    check_layout(mesh, train.replicate(tiny.experiment(), 3), "vmap")
  with pytest.raises(ValueError, match="config.replicate='map'.*config.mesh.seed=1"):
    check_layout(mesh, train.replicate(tiny.experiment(), 4, "map"), "map")
  with pytest.raises(ValueError, match="config.mesh.data=3 does not divide the batch size 4 of stage 'fit'"):
    check_layout(mesh, train.replicate(tiny.experiment(), 4), "vmap")


def test_the_first_rule_wins_and_no_rule_is_an_error():
  mesh = jax.sharding.AbstractMesh((2, 1, 1), ("seed", "data", "model"))
  state = {"a": {"b": jax.ShapeDtypeStruct((4, 2), "float32")}, "c": jax.ShapeDtypeStruct((), "int32")}
  found = state_shardings(mesh, (("^a/", P("seed")), ("c|b", P())), state)
  assert found["a"]["b"].spec == P("seed") and found["c"].spec == P()
  with pytest.raises(ValueError, match="no sharding rule matches the state leaf 'c'"):
    state_shardings(mesh, (("^a/", P()),), state)
  with pytest.raises(ValueError, match="axis 3 of 'c' does not divide by mesh axis seed"):
    state_shardings(mesh, ((".*", P("seed")),), {"c": jax.ShapeDtypeStruct((3,), "int32")})


def _state():
  return {
    "empty": {"w": jnp.zeros((0, 3), jnp.bfloat16)},
    "half": jnp.arange(5, dtype=jnp.bfloat16) / 3,
    "key": jax.random.key(7),
    "keys": jax.random.split(jax.random.key(1), 3),
    "list": [jnp.asarray(True), jnp.asarray(3, jnp.int32)],
    "odd": jnp.array([jnp.nan, -0.0, jnp.inf]),
  }


def _abstract(state):
  return lambda number: jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
  )


def _save(manager, state, *steps):
  for step in steps:
    progress = checkpoint.Progress(0, step, step, 0.5)
    checkpoint.save(manager, progress, state, {"w": state["half"]}, run={"config": {"a": 1}})
  checkpoint.finish(manager)


def test_every_kind_of_leaf_survives_bit_for_bit(tmp_path):
  state = jax.tree.map(lambda x: jax.device_put(x, jax.devices()[0]), _state())
  assert checkpoint.flatten(state).keys() == {"half", "key", "keys", "list/0", "list/1", "odd"}
  with checkpoint.open_manager(tmp_path, keep=2) as manager:
    _save(manager, state, 3, 5, 9)
    assert checkpoint.good_steps(tmp_path / "checkpoints") == [5, 9]
  found, progress = checkpoint.restore(tmp_path / "checkpoints", _abstract(state), warn=pytest.fail)
  assert progress == checkpoint.Progress(0, 9, 9, 0.5)
  assert jax.tree.structure(found) == jax.tree.structure(state)
  assert found["empty"]["w"].shape == (0, 3) and found["empty"]["w"].dtype == ml_dtypes.bfloat16
  for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(state), strict=True):
    assert ours.dtype == theirs.dtype and digests({"x": ours}) == digests({"x": theirs})


def test_reading_changes_nothing_and_setting_aside_moves_what_is_later(tmp_path):
  state = _state()
  with checkpoint.open_manager(tmp_path, keep=3) as manager:
    _save(manager, state, 1, 2)
  metadata = tmp_path / "checkpoints" / "2" / "progress" / "metadata"
  metadata.write_text(metadata.read_text().replace('"step": 2', '"step": 3').replace('"step":2', '"step":3'))
  half_written = tmp_path / "checkpoints" / "7.orbax-checkpoint-tmp"
  half_written.mkdir()
  warnings = []
  _, progress = checkpoint.restore(tmp_path / "checkpoints", _abstract(state), warn=warnings.append)
  assert progress.step == 1 and len(warnings) == 1 and warnings[0].endswith(": trying the one before")
  assert "checkpoint 2 " in warnings[0] and "checksum" in warnings[0]
  assert half_written.exists() and checkpoint.good_steps(tmp_path / "checkpoints") == [1, 2]
  with checkpoint.open_manager(tmp_path, keep=3) as manager:
    checkpoint.set_aside(manager, after=1)
    _save(manager, state, 2)
  assert (tmp_path / "damaged" / "2").is_dir() and checkpoint.good_steps(tmp_path / "checkpoints") == [1, 2]


SPEC = r""" [tensorstore_spec[1]='{\"driver\":\"zarr\",\"path\":\"/tmp/x: y/\"},\"file_io_sync\":true}']"""


@pytest.mark.parametrize(
  ("error", "cause"),
  [
    (ValueError(f'DATA_LOSS: Error opening "zarr" driver: Expected to start with 0x0c{SPEC}'), "Expected to"),
    (ValueError(f"Error decoding manifest: CRC-32C checksum failed: expected=1, actual=2{SPEC}"), "CRC-32C"),
    (ValueError(f'Error "a": Metadata at "b/.zarray" does not exist{SPEC}'), 'Metadata at "b'),
    (
      Exception("Reading (0). See full TensorStore details: <bound method p.spec of TensorStore({"),
      "unreadable array data",
    ),
    (OSError(28, "No space left on device", "/a/b"), "No space left on device"),
    (json.JSONDecodeError("Expecting value", "", 0), "no JSON: Expecting value"),
    (KeyError("digests"), "KeyError"),
    (ValueError(), "ValueError"),
    (ValueError(r"{\"driver\":true}"), "unreadable array data"),
  ],
  ids=range(9),
)
def test_the_cause_of_an_error_is_said_in_words(error, cause):
  found = checkpoint._cause(error)
  assert found.startswith(cause) and not set(found) & set("{}<>\\")


@pytest.mark.parametrize("file", ["manifest.ocdbt", "d/*", "_METADATA"])
def test_damaged_arrays_are_named_without_a_dump_and_the_last_one_has_none_before(file, tmp_path):
  with checkpoint.open_manager(tmp_path, keep=1) as manager:
    _save(manager, _state(), 1)
  for path in (tmp_path / "checkpoints" / "1" / "state").glob(file):
    path.write_bytes(bytes(path.stat().st_size))
  said = []
  with pytest.raises(train.RunError, match=r"none of the 1 checkpoint\(s\)"):
    checkpoint.restore(tmp_path / "checkpoints", _abstract(_state()), warn=said.append)
  (line,) = said
  assert "is damaged (" in line and line.endswith(")") and not set(line) & set("{}<>\\")


def test_reads_that_orbax_abandons_after_one_has_failed_say_nothing(tmp_path, monkeypatch):
  state = {name: jnp.full((64, 64), 2.0) for name in ("half", *"abcdefg")}
  with checkpoint.open_manager(tmp_path, keep=1) as manager:
    _save(manager, state, 1)
  for path in (tmp_path / "checkpoints" / "1" / "state").glob("d/*"):
    path.write_bytes(bytes(path.stat().st_size))
  said = []
  monkeypatch.setattr(sys, "unraisablehook", said.append)
  checkpoint.leave_out_abandoned()  # `restore` does so, too: a thread of an earlier test may speak before
  with pytest.raises(train.RunError, match="none of the 1"):
    checkpoint.restore(tmp_path / "checkpoints", _abstract(state), warn=lambda line: None)
  gc.collect()
  assert not said
  sys.unraisablehook(types.SimpleNamespace(object=None, exc_value=ValueError("of another")))
  assert len(said) == 1  # all else is told as before


def test_a_checkpoint_of_other_leaves_is_another_version_not_damage(tmp_path):
  with checkpoint.open_manager(tmp_path, keep=1) as manager:
    _save(manager, _state(), 1)
  more = _abstract({**_state(), "more": jnp.ones(2)})
  with pytest.raises(train.RunError, match="another version of the code.*'more'"):
    checkpoint.restore(tmp_path / "checkpoints", more, warn=pytest.fail)


def test_keep_best_keeps_the_first_best_of_each_replica():
  def run(values):
    state = {"best": jnp.asarray(-jnp.inf), "kept": {"w": jnp.zeros(())}}
    for i, value in enumerate(values):
      state = train.keep_best(state, value, {"w": jnp.asarray(float(i))})
    return state

  found = jax.vmap(run)(jnp.array([[1.0, 3.0, 3.0, 2.0], [5.0, jnp.nan, 4.0, 6.0]]))
  assert found["best"].tolist() == [3, 6] and found["kept"]["w"].tolist() == [1, 3]


def test_what_cannot_be_replicated_is_refused():
  with pytest.raises(ValueError, match="config.replicate is 'pmap': choose 'vmap' or 'map'"):
    train.replicate(tiny.experiment(), 2, "pmap")
  with pytest.raises(ValueError, match="cannot replicate 0 times"):
    train.replicate(tiny.experiment(), 0)
  with pytest.raises(ValueError, match="replicas=2"):
    train.replicate(train.replicate(tiny.experiment(), 2), 2)


@pytest.mark.parametrize("replicas", [None, 2])
def test_a_run_starts_from_the_weights_of_a_finished_one(replicas, tmp_path):
  train.run(tiny.experiment(), tiny.get_config(), tmp_path / "first", quiet=True)
  weights = load_params(tmp_path / "first" / "export" / "params.safetensors")["w"]
  whole = tiny.experiment(Resident({"x": tiny.ROWS}, 10), steps=1)
  config = tiny.get_config(init_from=str(tmp_path / "first"), seeds=replicas or 1)
  train.run(train.replicate(whole, replicas) if replicas else whole, config, tmp_path / "second", quiet=True)
  found = load_params(tmp_path / "second" / "export" / "params.safetensors")["w"]
  expected = weights - tiny.DECAY * (weights - tiny.ROWS.mean())
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_weights_that_do_not_fit_are_named(tmp_path):
  def start():
    train.run(tiny.experiment(), tiny.get_config(init_from=str(tmp_path)), tmp_path / "W", quiet=True)

  with pytest.raises(FileNotFoundError, match="no weights at .*the workdir of a finished run"):
    start()
  (tmp_path / "export").mkdir()
  path = tmp_path / "export" / "params.safetensors"
  save_params(path, {"w": np.ones(3, np.float32)})
  with pytest.raises(
    train.RunError, match=r"init_from=.*'w' should have shape \(\) and has shape \(3,\); .*architecture"
  ):
    start()
  save_params(path, {"v": np.ones(3, np.float32)})
  with pytest.raises(train.RunError, match=r"'w' should have shape \(\) and is not among \['v'\]"):
    start()
  for content, words in ((b"no safetensors", "is not a readable safetensors file"), (b"", "is empty")):
    path.write_bytes(content)
    with pytest.raises(train.RunError, match=f"config.init_from={tmp_path}: .*{words}.*or give another run"):
      start()
  with pytest.raises(train.RunError, match="is a file: give the workdir of a finished run"):
    train.run(tiny.experiment(), tiny.get_config(init_from=str(path)), tmp_path / "W", quiet=True)
