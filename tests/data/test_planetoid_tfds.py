"""The prepared (TFDS, array_record) form of the graphs gives back the arrays of the npz file."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vita_jax.data import sources
from vita_jax.data.files import read_npz
from vita_jax.data.planetoid_tfds import builder, node_rows, rebuild
from vita_jax.data.sources import SOURCES, load, local_file

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record")

LAUNCH = Path(__file__).parents[2] / "launch" / "prepare_data.py"


def assert_same_arrays(found, expected):
  assert found.keys() == expected.keys()
  for key, value in expected.items():
    np.testing.assert_array_equal(found[key], value, err_msg=key)
    assert found[key].dtype == value.dtype and found[key].shape == value.shape, key


def prepare(*args, **env):
  path = os.pathsep.join(p for p in sys.path if p)
  env = {**os.environ, "PYTHONPATH": path, **env}
  return subprocess.run([sys.executable, LAUNCH, *args], capture_output=True, text=True, env=env, timeout=120)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tfds")
  done = prepare("--dataset=planetoid/citeseer", f"--data_dir={folder}", TFDS_DATA_DIR="")
  assert done.returncode == 0, done.stderr
  assert f"export TFDS_DATA_DIR={folder}" in done.stdout
  assert str(folder / "planetoid" / "citeseer") in done.stdout
  return folder


@pytest.mark.parametrize("name", sorted(n for n in SOURCES if n.startswith("planetoid/")))
def test_rows_hold_everything(name, request):
  if local_file(name) is None:
    request.getfixturevalue("vita_data_dir")
  arrays = load(name)
  metadata = {
    "feature_dtype": arrays["feat_data"].dtype.name,
    **{k: int(arrays[k]) for k in ("num_nodes", "num_features", "num_classes")},
  }
  rows = list(node_rows(arrays))
  assert_same_arrays(rebuild(rows[::-1], metadata), arrays)
  with pytest.raises(ValueError, match="once each"):
    rebuild(rows[1:], metadata)


def test_the_tfds_door_serves_the_same_arrays(prepared, monkeypatch, tmp_path):
  shipped = load("planetoid/citeseer")
  monkeypatch.setattr(sources, "_EMBEDDED", tmp_path)
  monkeypatch.delenv("VITA_DATA_DIR", raising=False)
  monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
  assert local_file("planetoid/citeseer") is None
  assert_same_arrays(load("planetoid/citeseer"), shipped)


def test_grain_reads_the_prepared_rows(prepared):
  import grain

  read = tfds.builder_from_directory(next((prepared / "planetoid/citeseer").glob("*")))
  rows = grain.MapDataset.source(read.as_data_source(split="nodes")).shuffle(seed=1)
  expected = read_npz(local_file("planetoid/citeseer"))
  assert_same_arrays(rebuild(list(rows.to_iter_dataset()), read.info.metadata), expected)
  assert "tensorflow" not in sys.modules


def test_row_i_is_node_i(prepared):
  source = tfds.data_source("planetoid/citeseer", split="nodes", data_dir=prepared)
  assert [source[i]["node"] for i in (0, 1, 2407, 3326)] == [0, 1, 2407, 3326]
  assert source[2407]["label"] == -1 and len(source[2407]["feature_indices"]) == 0


def test_a_damaged_prepared_set_is_named(prepared, monkeypatch, tmp_path):
  copy = tmp_path / "tfds"
  shutil.copytree(prepared, copy)
  monkeypatch.setattr(sources, "_EMBEDDED", tmp_path)
  monkeypatch.delenv("VITA_DATA_DIR", raising=False)
  monkeypatch.setenv("TFDS_DATA_DIR", str(copy))
  metadata = next(copy.rglob("metadata.json"))
  text = metadata.read_text()
  metadata.write_text(text.replace("3703", "3704"))
  with pytest.raises(ValueError, match="run launch/prepare_data.py again") as error:
    load("planetoid/citeseer")
  assert "\n" not in str(error.value)
  metadata.write_text(text)
  records = next(copy.rglob("*.array_record*"))
  records.write_bytes(records.read_bytes()[:-70_000])
  with pytest.raises(ValueError, match="run launch/prepare_data.py again"):
    load("planetoid/citeseer")


def test_prepare_data_refuses_clearly(tmp_path):
  done = prepare("--dataset=planetoid/corra", f"--data_dir={tmp_path}")
  assert done.returncode != 0
  for name in (n for n in SOURCES if n.startswith("planetoid/")):
    assert name in done.stderr
  done = prepare("--dataset=planetoid/cora", f"--data_dir={tmp_path}", VITA_DATA_DIR="")
  assert done.returncode != 0 and "planetoid/cora.npz under $VITA_DATA_DIR" in done.stderr
  assert "Traceback" not in done.stderr and not list(tmp_path.iterdir())


def test_builder_refuses_unknown_names(tmp_path):
  with pytest.raises(ValueError, match="known: .*planetoid/citeseer"):
    builder("planetoid/corra", data_dir=tmp_path)
