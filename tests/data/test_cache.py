"""Cached arrays: made once, told apart by their key, and never trusted without their digest."""

import warnings

import numpy as np
import pytest

from vita_jax.data import cache
from vita_jax.data.cache import cache_folder, cached_arrays

MADE = {"x": np.arange(400, dtype=np.float32).reshape(20, 20), "n": np.int64(7)}


def forbidden():
  raise AssertionError("made again")


def test_a_second_call_reads_what_the_first_wrote(tmp_path):
  first = cached_arrays(tmp_path / "new", "a key", lambda: MADE, prefix="squares-")
  second = cached_arrays(tmp_path / "new", "a key", forbidden, prefix="squares-")
  for found in (first, second):
    assert found.keys() == MADE.keys()
    for name, x in MADE.items():
      np.testing.assert_array_equal(found[name], x)
      assert found[name].dtype == x.dtype
  assert [path.name.startswith("squares-") for path in (tmp_path / "new").iterdir()] == [True]


def test_another_key_is_another_file(tmp_path):
  for key in ("a", "b"):
    cached_arrays(tmp_path, key, lambda: MADE)
  assert len(list(tmp_path.iterdir())) == 2


def _changed(path, **changes):
  with np.load(path) as file:
    arrays = {**file, **changes}
  np.savez_compressed(path, **arrays)


@pytest.mark.parametrize(
  "damage", ["truncated", "flipped", "empty", "text", "pickle", "other", "value", "key", "folder"]
)
def test_a_damaged_file_is_made_again_with_one_warning(damage, tmp_path):
  cached_arrays(tmp_path, "a key", lambda: MADE)
  (path,) = tmp_path.iterdir()
  whole = path.read_bytes()
  if damage == "pickle":
    _changed(path, x=np.array([{"a": 1}], dtype=object))
  elif damage == "other":
    np.savez(path, parts=np.zeros(3))
  elif damage == "value":  # a well-formed file whose numbers are others
    _changed(path, x=MADE["x"] + 1)
  elif damage == "key":
    _changed(path, __key__=np.zeros(5, np.uint8))
  elif damage == "folder":
    path.unlink()
    path.mkdir()
  else:
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0x10
    path.write_bytes(
      {"truncated": whole[:-40], "flipped": bytes(flipped), "empty": b"", "text": b"hello"}[damage]
    )
  with pytest.warns(RuntimeWarning, match="damaged .*: making it again") as caught:
    again = cached_arrays(tmp_path, "a key", lambda: MADE)
  assert "\n" not in str(caught[0].message)
  np.testing.assert_array_equal(again["x"], MADE["x"])
  if damage == "folder":  # nothing of ours: left where it is
    assert len(caught) == 2 and "cannot be written" in str(caught[1].message)
    return
  assert len(caught) == 1
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    np.testing.assert_array_equal(cached_arrays(tmp_path, "a key", forbidden)["x"], MADE["x"])
  assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_no_file_and_costs_a_warning_only(tmp_path, monkeypatch):
  def full(*_):
    raise OSError("No space left on device")

  monkeypatch.setattr(cache, "write_bytes", full)
  with pytest.warns(RuntimeWarning, match="cannot be written .*No space left.*VITA_CACHE_DIR"):
    found = cached_arrays(tmp_path, "a key", lambda: MADE)
  assert found["n"] == 7 and not list(tmp_path.iterdir())


def test_the_folder_is_the_one_named_or_that_of_the_environment(tmp_path, monkeypatch):
  assert cache_folder("labels", tmp_path) == tmp_path / "labels"
  monkeypatch.setenv("VITA_CACHE_DIR", str(tmp_path / "here"))
  assert cache_folder("labels") == tmp_path / "here" / "labels"
  monkeypatch.delenv("VITA_CACHE_DIR")
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  assert cache_folder("labels") == tmp_path / "home" / ".cache" / "vita_jax" / "labels"
