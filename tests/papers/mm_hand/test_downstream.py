"""The downstream comparison: who is in which set, and how seeds are paired."""

import numpy as np
import pytest
from papers.mm_hand import small

from vita_jax.papers.mm_hand.data import read_inputs
from vita_jax.papers.mm_hand.downstream import (
  CLASSICAL,
  NOTHING,
  RENDERINGS,
  compare,
  drawn_pairs,
  split_rows,
  table,
)
from vita_jax.papers.mm_hand.recipe import recipe_of


def test_targets_are_new_poses_and_sources_are_real_pictures_of_the_same_hand():
  identity = np.arange(60) % 3
  rows = split_rows(identity, real=20, more=30, seed=0)
  assert not set(rows.real) & set(rows.targets) and set(rows.sources) <= set(rows.real)
  assert (identity[rows.sources] == identity[rows.targets]).all()
  assert len(set(rows.real)) == 20 and len(set(rows.targets)) == 30
  other = split_rows(identity, real=20, more=30, seed=1)
  assert set(other.real) != set(rows.real)


def test_too_few_hands_are_one_line():
  with pytest.raises(ValueError, match="20 real hands and 50 more are asked for, and 60 train"):
    split_rows(np.zeros(60, int), real=20, more=50, seed=0)
  with pytest.raises(ValueError, match="has no picture among 1 real ones: give more"):
    split_rows(np.arange(60) % 3, real=1, more=50, seed=0)


def test_differences_are_paired_by_seed():
  base = [0.1, 0.5, 0.3]
  found = {
    NOTHING: [{"pck_auc": x} for x in base],
    CLASSICAL: [{"pck_auc": x + 0.01} for x in base],
    RENDERINGS: [{"pck_auc": x + 0.2} for x in base],
    "mm_hand": [{"pck_auc": x + 0.1} for x in base],
  }
  lines = table(found).splitlines()
  assert (
    lines[0] == f"| real pictures and | pck_auc | less {NOTHING} | less {CLASSICAL} | less {RENDERINGS} |"
  )
  assert lines[-1].startswith("| mm_hand | 0.4000 | +0.1000 (+0.1000 to +0.1000) | +0.0900")
  assert lines[-1].endswith("| -0.1000 (-0.1000 to -0.1000) |")


@pytest.mark.slow
def test_every_set_trains_and_is_tested_on_the_same_hands(tmp_path):
  recipe = recipe_of(small.config(tmp_path))
  inputs, said, asked = read_inputs(recipe), [], []

  def draw(given):
    asked.append(given)
    return given["picture"]

  found = compare(inputs, {"copy": [draw, draw]}, real=6, more=4, steps=3, say=said.append)
  assert list(found) == [NOTHING, CLASSICAL, RENDERINGS, "copy"] and len(said) == 8
  np.testing.assert_array_equal(drawn_pairs(inputs.tests["test"], draw), inputs.tests["test"]["source"])
  assert {len(numbers) for numbers in found.values()} == {2}
  assert {name: x.shape for name, x in asked[0].items()} == {
    "picture": (4, 16, 16, 3),
    "source_uv": (4, 21, 2),
    "source_z": (4, 21),
    "uv": (4, 21, 2),
    "z": (4, 21),
  }
  more = compare(inputs, {"copy": [draw]}, real=6, more=4, steps=3, seeds=2)
  assert more == found, "one generator serves all seeds, here the same as two of them"
  with pytest.raises(ValueError, match=r"the arms have \[1, 2\] seeds"):
    compare(inputs, {"a": [draw], "b": [draw, draw]}, real=6, more=4, steps=3)
