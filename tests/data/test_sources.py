"""Files and named data sets: the four doors, and what happens to damaged or hostile files."""

import functools
import http.server
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from vita_jax.base.hashing import arrays_sha256, file_sha256
from vita_jax.data import sources
from vita_jax.data.files import read_npz
from vita_jax.data.sources import Source, load


def one_line(error):
  assert "\n" not in str(error.value)
  return str(error.value)


def test_citeseer_is_shipped(closed_doors):
  arrays = load("planetoid/citeseer")
  assert arrays["edges"].shape == (4552, 2) and arrays["edges"].dtype == np.int32
  assert int(arrays["num_nodes"]) == 3327 and len(arrays["feat_data"]) == 105165
  assert arrays_sha256(arrays) == sources.SOURCES["planetoid/citeseer"].content


@pytest.mark.parametrize("name", ["planetoid/cora", "planetoid/pubmed"])
def test_vita_data_dir_serves(name, vita_data_dir):
  assert arrays_sha256(load(name)) == sources.SOURCES[name].content


def test_without_any_door_the_error_names_the_four_ways(closed_doors):
  with pytest.raises(FileNotFoundError) as error:
    load("planetoid/cora")
  text = one_line(error)
  for way in (
    "shipped",
    "$VITA_DATA_DIR",
    "planetoid/cora.npz",
    "$TFDS_DATA_DIR",
    "prepare_data.py --dataset=planetoid/cora",
    "download",
  ):
    assert way in text


def test_one_file_of_many_that_is_nowhere_is_named(closed_doors, monkeypatch):
  monkeypatch.setitem(sources.SOURCES, "pair", Source({"a.txt": file_sha256(__file__), "b.txt": "0" * 64}))
  monkeypatch.setenv("VITA_DATA_DIR", str(closed_doors))
  assert sources.source_files("pair") is None and "no a.txt under" in sources.missing("pair")
  (closed_doors / "a.txt").write_bytes(Path(__file__).read_bytes())
  assert sources.source_files("pair") is None and "no b.txt under" in sources.missing("pair")
  (closed_doors / "b.txt").touch()
  with pytest.raises(ValueError, match="b.txt is damaged or another version"):
    sources.source_files("pair")
  with pytest.raises(ValueError, match="nearest: 'pair'"):
    sources.source_files("pairs")


def test_unknown_name():
  with pytest.raises(
    ValueError, match="nearest: .planetoid/cora.*one npz file: credit/german, credit/taiwan"
  ):
    load("planetoid/corra")


def test_a_source_of_other_files_names_where_its_reader_is():
  with pytest.raises(ValueError, match="'cifar10' is no npz file: vita_jax/data/README.md names its reader"):
    load("cifar10")


def test_a_changed_file_is_named_with_both_digests(closed_doors, monkeypatch, toy_arrays):
  path = closed_doors / "planetoid" / "cora.npz"
  path.parent.mkdir()
  np.savez(path, **toy_arrays)
  monkeypatch.setenv("VITA_DATA_DIR", str(closed_doors))
  with pytest.raises(ValueError) as error:
    load("planetoid/cora")
  text = one_line(error)
  (expected,) = sources.SOURCES["planetoid/cora"].files.values()
  for part in (str(path), file_sha256(path), expected, "replace"):
    assert part in text


def test_the_embedded_file_comes_first(closed_doors, monkeypatch):
  path = closed_doors / "planetoid" / "citeseer.npz"
  path.parent.mkdir()
  path.write_bytes(b"PK\x03\x04 nonsense")
  monkeypatch.setenv("VITA_DATA_DIR", str(closed_doors))
  assert "edges" in load("planetoid/citeseer")


def test_download_checks_the_digest(closed_doors, monkeypatch, toy_arrays):
  pytest.importorskip("pooch")
  served = closed_doors / "served"
  served.mkdir()
  np.savez(served / "toy.npz", **toy_arrays)
  monkeypatch.setenv("VITA_DATA_DIR", str(closed_doors / "cache"))
  handler = functools.partial(QuietHandler, directory=str(served))
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    digest = file_sha256(served / "toy.npz")
    good = Source({"toy/toy.npz": digest}, "", f"{url}/toy.npz")
    monkeypatch.setitem(sources.SOURCES, "toy", good)
    monkeypatch.setitem(sources.SOURCES, "wrong", good._replace(files={"w/w.npz": "0" * 64}))
    gone = good._replace(files={"g/g.npz": digest}, url=f"{url}/gone.npz")
    monkeypatch.setitem(sources.SOURCES, "gone", gone)
    np.testing.assert_array_equal(load("toy")["edges"], toy_arrays["edges"])
    assert (closed_doors / "cache/toy/toy.npz").is_file()
    with pytest.raises(ValueError):
      load("wrong")
    with pytest.raises(FileNotFoundError, match="cannot download"):
      load("gone")
    server.shutdown()
  np.testing.assert_array_equal(load("toy")["labels"], toy_arrays["labels"])  # no server needed


class QuietHandler(http.server.SimpleHTTPRequestHandler):
  def log_message(self, *args):
    pass


def test_read_npz_returns_what_was_saved(tmp_path, toy_arrays):
  for save in (np.savez, np.savez_compressed):
    save(tmp_path / "a.npz", **toy_arrays)
    found = read_npz(tmp_path / "a.npz")
    assert found.keys() == toy_arrays.keys()
    for key, value in toy_arrays.items():
      np.testing.assert_array_equal(found[key], value)
      assert found[key].dtype == value.dtype


def test_read_npz_names_what_is_wrong(tmp_path):
  path = tmp_path / "a.npz"
  with pytest.raises(FileNotFoundError, match="no file"):
    read_npz(path)
  with pytest.raises(FileNotFoundError, match="no file"):
    file_sha256(path)

  def expect(message):
    with pytest.raises(ValueError, match=message) as error:
      read_npz(path)
    assert str(path) in one_line(error)

  path.write_text("edges,labels\n")
  expect("not an npz")
  path.write_bytes(b"")
  expect("not an npz")
  np.savez(path, x=np.arange(1000))
  whole = path.read_bytes()
  path.write_bytes(whole[:-300])
  expect("truncated or damaged")
  path.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
  expect("truncated or damaged")
  np.savez(path, x=np.arange(3), objects=np.array([{"a": 1}, None], dtype=object))
  expect("'objects' holds Python objects")
  with zipfile.ZipFile(path, "w") as z:
    z.writestr("notes.txt", "hello")
  expect("'notes.txt' is not a numpy array")


def test_nothing_unpickles(tmp_path):
  class Trap:
    def __reduce__(self):
      return (tmp_path.joinpath("ran").touch, ())

  np.savez(tmp_path / "trap.npz", x=np.array([Trap()], dtype=object))
  with pytest.raises(ValueError, match="pickle can run code"):
    read_npz(tmp_path / "trap.npz")
  assert not (tmp_path / "ran").exists()


def test_arrays_sha256_sees_every_change():
  base = {"a": np.arange(6, dtype=np.int32), "b": np.ones(2)}
  changed = [
    {"a": base["a"].astype(np.int64), "b": base["b"]},
    {"a": base["a"]},
    {"a": base["a"].reshape(2, 3), "b": base["b"]},
    {"c": base["a"], "b": base["b"]},
    {"a": base["a"], "b": np.array([1.0, np.nextafter(1, 2)])},
  ]
  assert len({arrays_sha256(x) for x in [base, *changed]}) == 6
  assert arrays_sha256(dict(reversed(base.items()))) == arrays_sha256(base)
  assert arrays_sha256({**base, "a": base["a"].astype(">i4")}) == arrays_sha256(base)
