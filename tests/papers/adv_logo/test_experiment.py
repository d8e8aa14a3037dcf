"""Whole runs on a small scene: every method trains, reports and exports; bad settings are one line."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from papers.adv_logo import small
from PIL import Image

from vita_jax import render, train
from vita_jax.papers.adv_logo.bodies import load_bodies
from vita_jax.papers.adv_logo.model import Disturbance, disturbed, start_texture
from vita_jax.papers.adv_logo.recipe import METHODS, angles_between, check, default_config, recipe_of
from vita_jax.papers.adv_logo.views import Views, dress
from vita_jax.train.weights import load_params


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("photographs")


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
  """(config, experiment, workdir, summary) of the method `logo`."""
  config, workdir = small.config(folder, steps_per_call=4, log_every=4), tmp_path_factory.mktemp("run")
  experiment = small.build(config)
  return config, experiment, workdir, train.run(experiment, config, workdir, quiet=True)


def test_training_hides_the_body_from_the_detector(run):
  _, _, workdir, summary = run
  rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  scores = [row["metrics"]["bright_score"] for row in rows if "bright_score" in row.get("metrics", {})]
  assert scores[-1] < scores[0]
  logo = load_params(workdir / "export" / "params.safetensors")["logo"]
  assert np.median(logo) < 0.4  # grey before; this detector looks for brightness
  found = {name: entry["mean"] for name, entry in summary["metrics"].items()}
  assert found["bright_score_10"] < 0.8 and 0 <= found["bright_success_10"] <= 1
  assert found["bright_unseen_10"] is not None  # of mannequin_wide
  assert "bright, unseen bodies" in (workdir / "angles.md").read_text()
  assert (workdir / "figures" / "sheet.png").exists() and (workdir / "figures" / "success.png").exists()


def test_a_logo_is_exported_as_a_picture_and_as_dressed_bodies(run, tmp_path):
  _, experiment, workdir, _ = run
  params = load_params(workdir / "export" / "params.safetensors")
  state = {"params": {"logo": params["logo"]}}
  exported = experiment.export(state)
  exported.write(tmp_path)
  logo = np.asarray(Image.open(tmp_path / "logo.png"))
  assert logo.shape == (24, 16, 4) and set(np.unique(logo[..., 3])) == {0, 255}
  assert params["logo"].min() >= 0 and params["logo"].max() <= 1
  body = render.load_mesh(tmp_path / "mannequin.glb")
  assert body.texture is not None and len(body.faces) == len(load_bodies("mannequin", ())[0].mesh.faces)
  inputs = exported.read(str(tmp_path / "mannequin_wide.glb"))
  colors = exported.program(exported.params, **{k: jnp.asarray(x) for k, x in inputs.items()})
  assert colors["colors"].shape == (len(inputs["uv"]), 3)
  printed = np.asarray(colors["printed"])
  assert 0 < (printed > 0.5).sum() < len(printed)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "logo"])
def test_every_method_starts_and_looks_as_it_should(method, folder):
  """What differs between methods."""
  config = small.config(folder, method, **({} if method == "hard" else {"scene.antialias": 2}))
  recipe = recipe_of(config)
  experiment = small.build(config)
  state = experiment.init(jax.random.key(0))
  (stage,) = experiment.stages
  logo = state["params"]["logo"]
  assert logo.shape == (1, 24, 16, 3)
  assert (np.asarray(logo) == 0.5).all() == (method != "noise")
  views = stage.also["views"].arrays if stage.also else None
  if method in ("grey", "noise"):
    assert stage.steps == 1 and not stage.also
    return
  assert len(recipe.train.angles) == (1 if method in ("single_angle", "patch2d_as_texture") else 3)
  same = (views["pixel"] == views["pixel"][0]).all()
  assert same == (method in ("patch2d", "patch2d_as_texture", "single_angle"))


def test_conventional_logos_are_one_per_body(folder):
  experiment = small.build(small.config(folder, "conventional", **{"bodies.train": (), "train.range": 0.0}))
  assert experiment.init(jax.random.key(0))["params"]["logo"].shape[0] == 2
  views = Views(**experiment.stages[0].also["views"].arrays)
  assert views.texture.tolist() == [0, 1]
  _, logos = dress(jnp.stack([jnp.zeros((24, 16, 3)), jnp.ones((24, 16, 3))]), views)
  assert float(logos[0].max()) == 0.0 and float(logos[1].max()) > 0.9


def test_light_and_print_disturb_within_their_ranges():
  key = jax.random.key(3)
  texture = start_texture(key, "noise", count=1, size=(20, 30))
  assert texture.shape == (1, 20, 30, 3)
  still = disturbed(key, texture, Disturbance(0.0, 0.0, 0.0))
  np.testing.assert_allclose(still, np.clip(texture, 1e-7, 1 - 1e-7), atol=1e-7)
  light = np.asarray(disturbed(key, texture, Disturbance(0.2, 0.1, 0.0)))
  inner = (light > 1e-6) & (light < 1 - 1e-6)
  slope, shift = np.polyfit(np.asarray(texture)[inner], light[inner], 1)
  assert 0.8 <= slope <= 1.2 and abs(shift) <= 0.1
  noisy = np.asarray(disturbed(key, jnp.full((1, 20, 30, 3), 0.5), Disturbance(0.0, 0.0, 0.1))) - 0.5
  assert 0.09 < np.abs(noisy).max() <= 0.1 and abs(noisy.mean()) < 0.01


def test_angles_are_symmetrical_and_include_the_middle():
  assert angles_between(0.0, 1.0) == (0.0,)
  assert len(angles_between(10.0, 1.0)) == 21 and angles_between(10.0, 4.0) == (-8.0, -4.0, 0.0, 4.0, 8.0)


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    ({"shape": "letter"}, "config.shape is letter: it must be one of full, G, H"),
    ({"scene.body": 500}, "config.scene.body is 500: it must fit into config.scene.size"),
    ({"texture.median": 4}, "config.texture.median is 4: it must be an odd number"),
    ({"texture.shared": False, "test.display": "picture"}, "a flat patch is the same for all"),
    ({"detectors.train": ("hog",)}, "hog, which has no gradient"),
    ({"detectors.train": ()}, "config.detectors.train is empty"),
    ({"test.angles": ()}, "config.test.angles is .*: it must be angles in degrees"),
    ({"train.pictures": 200}, "more than the 150 photographs"),
  ],
)
def test_settings_that_cannot_be_are_one_line(overrides, message):
  config = default_config()
  config.update_from_flattened_dict(overrides)
  with pytest.raises(ValueError, match=message) as caught:
    check(config)
  assert "\n" not in str(caught.value)


def test_a_logo_that_lies_off_the_body_names_the_body(folder):
  with pytest.raises(ValueError, match="^mannequin: the logo lies off the body"):
    small.build(small.config(folder, **{"place.drop": 9.0}))


def test_missing_data_are_named_with_a_remedy(monkeypatch, folder):
  monkeypatch.delenv("VITA_DATA_DIR", raising=False)
  for override, message in (
    ({"bodies.path": "", "bodies.test": ("male_average",)}, "no bodies: .*--config.bodies.path=FOLDER"),
    ({"backgrounds.path": ""}, "no photographs: .*--config.backgrounds.path=FOLDER"),
  ):
    with pytest.raises(FileNotFoundError, match=message) as caught:
      small.build(small.config(folder, **override))
    assert "\n" not in str(caught.value)


def test_unknown_detectors_and_methods_name_the_nearest():
  with pytest.raises(ValueError, match="unknown method 'patch': did you mean"):
    default_config("patch")
