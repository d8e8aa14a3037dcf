"""Rows and whole arrays as TFDS data sets (array_record): written, read back bit for bit, and damaged."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vita_jax.data import sources
from vita_jax.data.files import read_npz
from vita_jax.data.images import load_images
from vita_jax.data.sources import SOURCES, data_file, load
from vita_jax.data.stream import Stream, read_batch
from vita_jax.data.tfds_files import open_rows, prepared_dir, read_columns, write_rows

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record")

LAUNCH = Path(__file__).parents[2] / "launch" / "prepare_data.py"
ROWS = [
  {
    "image": np.full((2, 3), i, np.uint8),
    "half": np.float16([i / 3]),
    "double": np.float64(i / 3),
    "empty": np.zeros((0, 2), np.int16),
    "flag": np.bool_(i % 2),
  }
  for i in range(5)
]


def prepare(*args, **env):
  path = os.pathsep.join(p for p in sys.path if p)
  env = {**os.environ, "PYTHONPATH": path, **env}
  return subprocess.run([sys.executable, LAUNCH, *args], capture_output=True, text=True, env=env, timeout=300)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tfds")
  done = prepare("--dataset=planetoid/citeseer", f"--data_dir={folder}", TFDS_DATA_DIR="")
  assert done.returncode == 0, done.stderr
  assert f"export TFDS_DATA_DIR={folder}" in done.stdout
  assert str(folder / "planetoid" / "citeseer") in done.stdout
  return folder


@pytest.fixture
def only_tfds(monkeypatch, tmp_path):
  """No door but TFDS's."""
  monkeypatch.setattr(sources, "SHIPPED", tmp_path)
  monkeypatch.delenv("VITA_DATA_DIR", raising=False)


def test_rows_come_back_bit_for_bit_in_their_order(tmp_path):
  folder = write_rows("noise", {"train": ROWS, "test": ROWS[:2]}, data_dir=tmp_path)
  assert folder == tmp_path / "noise" / "1.0.0"
  source = open_rows(folder, "train")
  assert len(source) == 5 and len(open_rows(folder, "test")) == 2
  for i, row in enumerate(ROWS):
    for name, x in row.items():
      found = np.asarray(source[i][name])
      assert found.dtype == x.dtype and found.shape == x.shape
      np.testing.assert_array_equal(found, x)
  batch = read_batch(Stream(source, 2), 0, 0)
  np.testing.assert_array_equal(batch["image"][:, 0, 0], batch["index"])
  assert "tensorflow" not in sys.modules
  with pytest.raises(ValueError, match="no split 'tests' .nearest: 'test'."):
    open_rows(folder, "tests")


@pytest.mark.parametrize(
  ("rows", "message"),
  [
    ([], "no rows"),
    ([{"a": "text"}], "only numbers"),
    ([{"a": np.zeros(2)}, {"a": np.zeros(3)}], "split train, row 1 is"),
  ],
)
def test_what_cannot_be_written_is_named(rows, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    write_rows("noise", {"train": rows}, data_dir=tmp_path)


def test_the_tfds_door_serves_the_same_arrays(prepared, monkeypatch, only_tfds):
  shipped = read_npz(Path(sources.__file__).parent / "embedded" / "planetoid" / "citeseer.npz")
  monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
  assert data_file("planetoid/citeseer.npz") is None
  found = load("planetoid/citeseer")  # its digest is checked against the recorded one
  assert found.keys() == shipped.keys()
  for name, x in shipped.items():
    assert found[name].dtype == x.dtype and found[name].shape == x.shape
    np.testing.assert_array_equal(found[name], x)


def test_images_are_read_from_tfds(monkeypatch, tmp_path, only_tfds):
  rows = [{"image": np.full((28, 28, 1), i, np.uint8), "label": np.int64(i % 10)} for i in range(4)]
  write_rows("mnist", {"train": rows, "test": rows[:1]}, data_dir=tmp_path)
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  images = load_images("mnist")
  assert images.train["image"].shape == (4, 28, 28, 1) and images.train["label"].dtype == np.int32
  assert images.train["image"][3, 0, 0, 0] == 3 and images.source == "TFDS mnist"


def test_a_damaged_prepared_set_is_named(prepared, monkeypatch, tmp_path, only_tfds):
  copy = tmp_path / "tfds"
  shutil.copytree(prepared, copy)
  monkeypatch.setenv("TFDS_DATA_DIR", str(copy))
  monkeypatch.setitem(SOURCES, "planetoid/citeseer", SOURCES["planetoid/citeseer"]._replace(content="0" * 64))
  with pytest.raises(ValueError, match="sha256 of its arrays .*prepare_data.py again") as error:
    load("planetoid/citeseer")
  assert "\n" not in str(error.value)
  records = next(copy.rglob("*.array_record*"))
  records.write_bytes(records.read_bytes()[:-70_000])
  with pytest.raises(ValueError, match="run launch/prepare_data.py again") as error:
    load("planetoid/citeseer")
  assert "\n" not in str(error.value)


def test_the_newest_version_is_taken(monkeypatch, tmp_path):
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  assert prepared_dir("toy") is None
  for version in ("9.0.0", "10.0.0"):
    (tmp_path / "toy" / version).mkdir(parents=True)
    (tmp_path / "toy" / version / "dataset_info.json").touch()
  assert prepared_dir("toy") == tmp_path / "toy" / "10.0.0"
  with pytest.raises(ValueError, match="prepare_data.py again"):
    read_columns(tmp_path / "toy" / "10.0.0", "train")


def test_prepare_data_refuses_clearly(tmp_path):
  done = prepare("--dataset=planetoid/corra", f"--data_dir={tmp_path}")
  assert done.returncode != 0
  for name in (n for n in SOURCES if n.startswith("planetoid/")):
    assert name in done.stderr
  done = prepare("--dataset=planetoid/cora", f"--data_dir={tmp_path}", VITA_DATA_DIR="")
  assert done.returncode != 0 and "planetoid/cora.npz under $VITA_DATA_DIR" in done.stderr
  assert "Traceback" not in done.stderr and not list(tmp_path.iterdir())
