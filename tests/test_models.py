"""The one door to trained artifacts: what is listed loads, is what is recorded, and has a card."""

import json
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import vita_jax
from vita_jax import models
from vita_jax.optim import library

PACKAGE = Path(vita_jax.__file__).parent


def test_every_shipped_optimizer_is_listed_and_loads():
  listed = {name.removeprefix("learned/") for name in models.names() if name.startswith("learned/")}
  assert listed == set(library.learned_names())
  assert vita_jax.models.names() == tuple(sorted(models.names()))
  for name in sorted(listed):
    tx = models.load(f"learned/{name}")
    assert isinstance(tx, optax.GradientTransformation)
    params = {"w": np.ones(3, np.float32)}
    updates, _ = tx.update(params, tx.init(params), params)
    expected, _ = library.learned(name).update(params, library.learned(name).init(params), params)
    np.testing.assert_array_equal(updates["w"], expected["w"])


def test_every_card_is_plain_and_says_what_it_is():
  for name in models.names():
    card = models.card(name)
    json.dumps(card)
    assert card["weights"] > 0 and all(len(digest) == 64 for digest in card["files"].values())
    assert ("made by" in card) == (not models.MODELS[name].folder().is_relative_to(PACKAGE))


def test_a_name_that_is_none_is_answered_by_the_nearest():
  for door in (models.card, models.load):
    with pytest.raises(ValueError, match="did you mean 'learned/dm-cl-il'"):
      door("learned/dm-clil")


def test_a_large_one_that_was_not_made_names_its_command(tmp_path, monkeypatch):
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  with pytest.raises(FileNotFoundError, match="run python launch/prepare_data.py --dataset=minilm_l3"):
    models.load("minilm_l3")


def test_a_changed_file_is_refused(tmp_path, monkeypatch):
  for file in models.MODELS["learned/dm"].files:
    (tmp_path / file).write_bytes((library.SHIPPED / "dm" / file).read_bytes())
  changed = models.MODELS["learned/dm"]._replace(folder=lambda: tmp_path)
  monkeypatch.setitem(models.MODELS, "learned/dm", changed)
  models.load("learned/dm")
  with (tmp_path / "params.safetensors").open("ab") as file:
    file.write(b"\0")
  with pytest.raises(ValueError, match="params.safetensors is damaged or another version"):
    models.load("learned/dm")


def test_nanodet_ships_and_loads_through_the_door(monkeypatch):
  monkeypatch.delenv("VITA_DATA_DIR", raising=False)
  detector = models.load("detectors/nanodet", form="top")
  assert detector.name == "nanodet" and models.card("detectors/nanodet")["licence"] == "Apache-2.0"
  assert (
    sum(x.size for x in jax.tree.leaves(detector.variables)) == models.card("detectors/nanodet")["weights"]
  )


def test_a_hand_network_is_made_by_its_command_and_loads_through_the_door(tmp_path, monkeypatch):
  from vita_jax.data.sources import data_file
  from vita_jax.nn.detectors import palm

  if data_file("vision/networks/palm_detection_full.tflite") is None:
    pytest.skip("the published weights are not under $VITA_DATA_DIR")
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  name = "detectors/palms"
  assert models.card(name)["made by"] == f"python launch/prepare_data.py --dataset={name}"
  palm.prepare(tmp_path / name)
  module, variables = models.load(name)
  assert isinstance(module, palm.PalmDetector)
  assert sum(x.size for x in jax.tree.leaves(variables)) == models.card(name)["weights"]
