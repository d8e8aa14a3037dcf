"""Photographs in memory and their split by name: stable, and never one picture on both sides."""

import os

import numpy as np
import pytest
from PIL import Image

from vita_jax.data.folders import twins
from vita_jax.data.photographs import (
  FOLDER,
  Photographs,
  load_photographs,
  split_names,
  split_photographs,
)

NAMES = [f"{i}.webp" for i in range(30)]


def test_a_split_depends_on_names_alone_and_on_the_seed():
  train, test = split_names(NAMES, held_out=7)
  assert len(test) == 7 and sorted(train + test) == sorted(NAMES)
  assert split_names(NAMES[::-1], held_out=7)[1] == test[::-1]
  assert split_names(NAMES, held_out=7, seed=1)[1] != test
  # A name that comes or goes moves at most one other across the border.
  fewer = [name for name in NAMES if name != train[0]]
  assert len(set(split_names(fewer, held_out=7)[1]) - set(test)) <= 1
  assert set(split_names(NAMES, held_out=6)[1]) < set(test)


def test_names_that_belong_together_stay_on_one_side():
  for seed in range(20):
    together = [("0.webp", "1.webp"), ("1.webp", "2.webp"), ("5.webp", "9.webp")]
    train, test = split_names(NAMES, held_out=5, seed=seed, together=together)
    assert len(test) == 5
    for group in ({"0.webp", "1.webp", "2.webp"}, {"5.webp", "9.webp"}):
      assert group <= set(train) or group <= set(test)


def test_both_sides_need_a_name():
  for held_out in (0, 30):
    with pytest.raises(ValueError, match=f"{held_out} of 30 cannot be held out"):
      split_names(NAMES, held_out=held_out)


def test_a_folder_is_loaded_at_one_short_side(tmp_path, monkeypatch):
  rng = np.random.default_rng(0)
  for name, shape in (("b/tall.png", (40, 20, 3)), ("b/wide.png", (24, 64, 3))):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / name)
  found = load_photographs(tmp_path, side=16)
  assert found.names == ("b/tall.png", "b/wide.png")
  assert [x.shape for x in found.pictures] == [(32, 16, 3), (16, 43, 3)]
  assert found.only(["b/wide.png"]).pictures[0] is found.pictures[1]
  monkeypatch.setenv("VITA_DATA_DIR", str(tmp_path))
  with pytest.raises(FileNotFoundError, match=r"no folder vision/photos_pd under \$VITA_DATA_DIR") as error:
    load_photographs()
  assert "\n" not in str(error.value)


def test_a_photograph_that_is_there_twice_is_on_one_side():
  rng = np.random.default_rng(1)
  pictures = [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(6)]
  pictures[4] = np.kron(pictures[1], np.ones((2, 2, 1), np.uint8))
  photographs = Photographs(tuple("abcdef"), tuple(pictures), "")
  for seed in range(12):
    train, test = split_photographs(photographs, held_out=2, seed=seed)
    assert ("b" in test.names) == ("e" in test.names) and len(test.names) == 2
    assert not twins(list(train.pictures), list(test.pictures))


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("VITA_DATA_DIR"), reason="VITA_DATA_DIR is not set")
def test_the_212_are_split_without_twins():
  photographs = load_photographs(side=32)
  if len(photographs.names) != 212:
    pytest.skip(f"{FOLDER} is another one")
  train, test = split_photographs(photographs)
  assert len(train.names) == 170 and len(test.names) == 42
  assert not twins(list(train.pictures), list(test.pictures))
