"""Rendered hands by one command: RHD's layout, readable rows, and one line for what cannot be."""

import numpy as np
import pytest
from PIL import Image

from launch.commands import launch, refused, succeeded
from vita_jax.data.hands_files import Rhd
from vita_jax.hands import dataset

pytestmark = pytest.mark.slow
SHORT = ("--number=6", "--test=4", "--size=32", "--identities=2", "--held_out=3", "--rig=makehuman_left")


@pytest.fixture
def photographs(tmp_path):
  folder = tmp_path / "photographs"
  folder.mkdir()
  for i in range(8):
    Image.fromarray(np.full((70, 90, 3), 20 * i, np.uint8)).save(folder / f"{i}.png")
  return folder


def test_hands_are_rendered_written_and_read_back(tmp_path, photographs):
  command = (
    "prepare_data",
    "--dataset=mm_hand/rendered",
    f"--data_dir={tmp_path}",
    f"--photographs={photographs}",
  )
  text = succeeded(launch(*command, *SHORT))
  root = tmp_path / "mm_hand" / "rendered_makehuman_left_32_6_0"
  assert f"6 training and 4 test pictures of hands are in {root}" in text
  train, test = Rhd(root), Rhd(root, "evaluation")
  strangers = Rhd(root / "strangers", "evaluation")
  assert (len(train), len(test), len(strangers)) == (6, 4, 1)
  for rows in (train, test, strangers):
    assert rows[0]["image"].shape == (32, 32, 3) and rows[0]["mask"].any()
  known, new = dataset.people(4)[:2], dataset.people(4)[2:]
  assert set(strangers.arrays["identity"]) <= set(new) and set(train.arrays["identity"]) <= set(known)


def test_a_rig_that_is_none_is_one_line(tmp_path, photographs):
  command = (
    "prepare_data",
    "--dataset=mm_hand/rendered",
    f"--data_dir={tmp_path}",
    f"--photographs={photographs}",
  )
  message = refused(launch(*command, *SHORT[:-1], f"--rig={tmp_path / 'mine.npz'}"))
  assert "mine.npz" in message
