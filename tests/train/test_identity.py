"""Another config, other data, other versions: recorded, compared, and refused or told by name."""

import json
import shutil

import numpy as np
import pytest

from train import tiny
from vita_jax import train
from vita_jax.data import Resident, Stream
from vita_jax.train import config as config_lib
from vita_jax.train.finish import load_state, read_config, read_summary
from vita_jax.train.identity import check_same, data_digests, identity_of
from vita_jax.train.weights import save_params

SAVED = {"save_seconds": 0.0, "steps_per_call": 4, "keep_checkpoints": 9}


def _changed(kind):
  rows = tiny.ROWS.copy()
  rows[-1] += 1e-6
  return Resident({"x": rows}, 4) if kind == "resident" else Stream([{"x": x} for x in rows], 4)


def _interrupted(workdir, kind="resident", **overrides):
  """A run of which only the checkpoint at step 4 is left."""
  config = tiny.get_config(**SAVED, **overrides)
  train.run(tiny.experiment(tiny.data(kind)), config, workdir, quiet=True)
  for name in ("summary.json", "checkpoints/8", "checkpoints/12"):
    path = workdir / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
  return config


def test_another_runs_checkpoints_in_a_fresh_workdir_are_refused(tmp_path):
  _interrupted(tmp_path / "one")
  (tmp_path / "two").mkdir()
  shutil.copytree(tmp_path / "one" / "checkpoints", tmp_path / "two" / "checkpoints")
  with pytest.raises(train.RunError, match="two holds the run of another config .they differ in seed."):
    train.run(tiny.experiment(), tiny.get_config(seed=3, **SAVED), tmp_path / "two", quiet=True)
  # A config.json of the new config does not make the checkpoints its own.
  facts = json.loads((tmp_path / "one" / "config.json").read_text())
  facts["config"]["seed"] = 3
  (tmp_path / "two" / "config.json").write_text(json.dumps(facts))
  with pytest.raises(train.RunError, match="another config .they differ in seed."):
    train.run(tiny.experiment(), tiny.get_config(seed=3, **SAVED), tmp_path / "two", quiet=True)


@pytest.mark.parametrize("kind", ["resident", "stream"])
def test_changed_data_is_refused_at_resume_and_at_evaluation(kind, tmp_path):
  config = _interrupted(tmp_path, kind)
  changed = tiny.experiment(_changed(kind))
  array = "x" if kind == "resident" else "9/x"
  words = f"holds the run of other data .what changed since: fit, its {array}.*: bring back its data"
  with pytest.raises(train.RunError, match=words):
    train.run(changed, config, tmp_path, quiet=True)
  with pytest.raises(train.RunError, match=words):
    load_state(changed, config, tmp_path)
  assert train.run(tiny.experiment(tiny.data(kind)), config, tmp_path, quiet=True)["complete"]
  with pytest.raises(train.RunError, match=words):  # a finished run, too
    train.run(changed, config, tmp_path, quiet=True)


def test_changed_data_names_the_files_it_is_read_from_and_old_records_are_compared_too(tmp_path):
  path = tmp_path / "rows.npz"
  path.touch()
  identity = identity_of(tiny.experiment(), {"data": {"path": str(path)}, "init_from": str(tmp_path)})
  facts = json.loads(json.dumps(identity.facts()))
  check_same(facts, identity, what="W")
  facts["data"]["fit"] = "another"
  facts["arrays"]["fit"]["x"] = 3
  words = (
    rf"W holds the run of other data .what changed since: fit, its x; read from config.data.path={path}.:"
  )
  with pytest.raises(train.RunError, match=words):
    check_same(facts, identity, what="W")
  del facts["arrays"]  # as versions before this one recorded it
  with pytest.raises(train.RunError, match="what changed since: fit; read from"):
    check_same(facts, identity, what="W")


def test_the_digest_is_of_the_content_and_names_what_is_shared_once():
  first, again = (data_digests(tiny.experiment()) for _ in range(2))
  assert first == again and first.keys() == {"fit", "eval all"}
  rows = tiny.data("resident")
  stage = tiny.experiment(rows).stages[0]
  shared = tiny.experiment()._replace(stages=(stage, stage._replace(name="more")))
  assert data_digests(shared).keys() == {"fit", "eval all"}
  records = data_digests(tiny.experiment(Stream([b"a", b"bc"], 1)))["fit"]
  assert records != data_digests(tiny.experiment(Stream([b"a", b"bd"], 1)))["fit"]


def test_a_resume_under_another_version_says_so_in_one_line(tmp_path, capsys, monkeypatch):
  config = _interrupted(tmp_path)
  real = config_lib.versions()
  monkeypatch.setattr(
    "vita_jax.train.identity.versions", lambda: {**real, "numpy": "9.9", "commit": "b" * 40}
  )
  train.run(tiny.experiment(), config, tmp_path)
  lines = [line for line in capsys.readouterr().err.splitlines() if "other versions" in line]
  assert len(lines) == 1 and f"numpy {np.__version__} (now 9.9)" in lines[0] and "(now bbbbbbb)" in lines[0]


def test_without_git_the_commit_is_unknown(monkeypatch):
  monkeypatch.setenv("PATH", "/nowhere")
  assert config_lib.versions().get("commit", "unknown") == "unknown"


@pytest.mark.parametrize(
  "text", ['{"config": [1]}', "null", "5", "[]", "{}", '{"config": {"a": 1}', "\xff", "[" * 100_000]
)
def test_a_config_or_summary_that_is_none_is_named(text, tmp_path):
  for name, read in (("config.json", read_config), ("summary.json", read_summary)):
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(train.RunError, match=f"{name} is damaged.*delete it") as error:
      read(tmp_path)
    assert "\n" not in str(error.value) and str(error.value).count(str(tmp_path)) == 1


def test_a_folder_that_is_no_step_is_left_alone(tmp_path):
  config = _interrupted(tmp_path)
  (tmp_path / "checkpoints" / "²").mkdir()
  assert train.run(tiny.experiment(), config, tmp_path, quiet=True)["complete"]


def test_more_steps_than_can_be_counted_are_refused(tmp_path):
  with pytest.raises(ValueError, match="stage 'fit' has 3000000000 steps: at most 2147483647"):
    train.run(tiny.experiment(steps=3_000_000_000), tiny.get_config(), tmp_path, quiet=True)


@pytest.mark.parametrize("value", [np.float32(np.nan), np.float64(1e300)])
def test_weights_that_are_not_finite_are_no_start(value, tmp_path):
  """They used to be taken, and the first step's loss was blamed on the learning rate."""
  (tmp_path / "export").mkdir()
  save_params(tmp_path / "export" / "params.safetensors", {"w": value})
  with pytest.raises(train.RunError, match="'w' is not finite in float32"):
    train.run(tiny.experiment(), tiny.get_config(init_from=str(tmp_path)), tmp_path / "W", quiet=True)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.bool_, np.complex64])
def test_weights_of_another_kind_of_number_are_refused(dtype, tmp_path):
  (tmp_path / "export").mkdir()
  save_params(tmp_path / "export" / "params.safetensors", {"w": np.ones((), dtype)})
  with pytest.raises((train.RunError, ValueError), match="'w' should be float32 and is"):
    train.run(tiny.experiment(), tiny.get_config(init_from=str(tmp_path)), tmp_path / "W", quiet=True)


@pytest.mark.parametrize(
  "change",
  [{"seeds": 5}, {"seconds": "x"}, {"complete": 1}, {"metrics": {"a": 1}}, {"metrics": {"a": {"mean": 1}}}],
)
def test_a_summary_with_something_else_in_it_is_refused_in_one_line(change, tmp_path):
  whole = {
    "experiment": "p",
    "config_hash": "h",
    "complete": True,
    "seeds": [0],
    "steps": [1],
    "seconds": 1.0,
  }
  entry = {"mean": 1.0, "std": 0.0, "values": [1.0]}
  (tmp_path / "summary.json").write_text(json.dumps({**whole, "metrics": {"a": entry}}))
  assert read_summary(tmp_path)["seeds"] == [0]
  (tmp_path / "summary.json").write_text(json.dumps({**whole, "metrics": {"a": entry}, **change}))
  with pytest.raises(
    train.RunError, match="summary.json is damaged .*delete it and run launch/train.py"
  ) as error:
    read_summary(tmp_path)
  assert "\n" not in str(error.value)
