"""Protocols of their own: MPII's, of crops in memory and of a stream, whose labels are in whole pictures."""

from types import SimpleNamespace

import numpy as np
import pytest
from papers.autopose import small

from vita_jax.papers.autopose.recipe import recipe_of
from vita_jax.papers.autopose.report import _other_protocols, report
from vita_jax.pose import FIGURES, MPII, apply_matrix, crop_matrix


@pytest.mark.parametrize("stream", [False, True])
def test_pckh_is_told_of_crops_and_of_a_stream(stream):
  recipe, rng = (
    recipe_of(small.config("retrain:all_edges", **{"data.name": "mpii"})),
    np.random.default_rng(0),
  )
  joints = rng.uniform(50, 90, (2, 16, 2))
  joints[:, 8], joints[:, 9] = [70, 60], [70, 40]  # a head of 20 pixels: right is what is within 10
  rows = {"joints": joints, "visible": np.ones((2, 16)), "centre": np.array([[70, 70], [60, 75]])}
  rows["scale"] = np.array([[0.5, 0.5], [0.4, 0.4]])
  matrices = crop_matrix(rows["centre"], rows["scale"], size=recipe.data.size)
  inside = apply_matrix(matrices, joints + np.where(np.arange(16) < 4, 9.9, 10.1)[:, None] * [1, 0])
  if not stream:
    rows |= {"joints": apply_matrix(matrices, joints), "length": np.ones(2)}
  found = _other_protocols(recipe, SimpleNamespace(rows=rows, skeleton=MPII), {"joints": inside})
  assert found["pckh_of_segment"] == pytest.approx(4 / 14)  # without pelvis and thorax


def test_persons_of_a_detector_have_no_numbers_that_need_labels():
  """They are no seeds that diverged, which is what a number without a value counts as."""
  recipe = recipe_of(small.config("retrain:all_edges"))
  rows = {"visible": np.zeros((2, 17)), "joints": np.zeros((2, 17, 2))}
  rows |= {"area": np.ones(2), "box": np.ones((2, 4)), "length": np.ones(2)}
  inputs = SimpleNamespace(rows=rows, people=None, skeleton=FIGURES)
  found = {"joints": np.zeros((2, 17, 2)), "scores": np.ones((2, 17))}
  state = {"params": {}, "stats": {}}
  nets = SimpleNamespace(macs=1.0, genotype=None)

  def evaluate(name, state):
    return {"pck_0.2": None, "oks": None, "loss": 0.5}

  numbers = report(recipe, nets, inputs, state, evaluate, lambda *_, over: found).metrics
  assert numbers["loss"] == 0.5 and not {"pck_0.2", "oks"} & numbers.keys()
