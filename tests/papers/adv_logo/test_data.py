"""The bodies and photographs of VITA_DATA_DIR, where it is set."""

import numpy as np
import pytest

from vita_jax.data.folders import ImageFolder
from vita_jax.data.sources import data_dir
from vita_jax.nn import detectors
from vita_jax.papers.adv_logo import protocol
from vita_jax.papers.adv_logo.bodies import load_bodies, proportioned
from vita_jax.papers.adv_logo.charts import Place, make_chart
from vita_jax.papers.adv_logo.data import LEFT_OUT, PHOTOGRAPHS, read_inputs
from vita_jax.papers.adv_logo.recipe import default_config, recipe_of

pytestmark = pytest.mark.skipif(
  data_dir() is None or not (data_dir() / PHOTOGRAPHS).is_dir() or not (data_dir() / "human").is_dir(),
  reason="needs VITA_DATA_DIR with human/ and vision/photos_pd/",
)


@pytest.fixture(scope="module")
def bodies():
  return load_bodies("", ())


def test_what_is_left_out_is_there_and_leaves_enough():
  names = set(ImageFolder(data_dir() / PHOTOGRAPHS).paths)
  out = {f"{start}{name}.webp" for start, listed in LEFT_OUT.items() for name in listed.split()}
  assert out <= names and len(out) == 21 and len(names) - len(out) >= 170


@pytest.mark.parametrize("side", ["front", "back"])
@pytest.mark.parametrize("kind", ["planar", "cylindrical"])
def test_one_texture_lies_at_the_same_place_of_every_body(bodies, kind, side):
  """The bodies share one topology, so that corresponding faces can be compared."""
  charts = [
    make_chart(kind, body.mesh, body.landmarks, Place(side=side), torso=body.torso) for body in bodies
  ]
  assert all(800 < chart.faces.sum() < 5000 for chart in charts)
  both = np.logical_and.reduce([chart.faces for chart in charts])
  middles = np.stack([chart.uv[both].mean(axis=1) for chart in charts])
  assert both.sum() > 0.6 * charts[0].faces.sum()
  assert np.quantile(np.ptp(middles, axis=0), 0.9) < 0.15


def test_usual_proportions_are_near_the_joints_of_these_bodies(bodies):
  for body in bodies:
    height = np.ptp(body.mesh.vertices[:, 1])
    for guessed, joint in zip(proportioned(body.mesh), body.landmarks, strict=True):
      assert np.abs(guessed[:2] - joint[:2]).max() < 0.03 * height


@pytest.mark.slow
def test_nanodet_sees_every_clean_body_and_no_person_on_the_photographs():
  config = default_config("grey")
  config.backgrounds.update({"train": 20, "test": 2})
  config.train.update({"range": 0.0})
  config.test.angles = (0.0,)
  recipe = recipe_of(config)
  inputs = read_inputs(recipe)
  detector = detectors.load("nanodet")
  found = protocol.measure(detector, np.full((1, 150, 100, 3), 0.5, np.float32), inputs, recipe.test)
  assert protocol.control(detector, inputs, recipe.test).clean.min() > 0.6
  assert found.kept.all() and not found.hidden.any()  # a grey logo does not hide anybody
  assert protocol.numbers(found, inputs)["matched_10"] == 0.0
