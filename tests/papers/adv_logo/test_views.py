"""Cached views against whole renderings, one z-buffer, no mirror, and alpha compositing in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax import render
from vita_jax.papers.adv_logo.bodies import mannequin
from vita_jax.papers.adv_logo.charts import Place, make_chart
from vita_jax.papers.adv_logo.views import (
  Views,
  bare,
  camera_of,
  dress,
  logo_box,
  look,
  stack_views,
  with_patch,
)

BODY = mannequin()
CHART = make_chart("planar", BODY.mesh, BODY.landmarks, Place(), torso=BODY.torso)
SIZE = 48
FULL = np.ones((24, 16), np.float32)


def _look(angle=0.0, body=BODY, chart=CHART, mask=FULL, **options):
  return look(body, chart, mask, angle, size=SIZE, **options)


def _dressed(texture, view):
  views = stack_views([view], body=[0], angle=[0.0])
  pictures, logos = dress(jnp.asarray(texture)[None], views)
  return np.asarray(pictures[0]), np.asarray(logos[0])


@pytest.mark.parametrize("angle", [0.0, 25.0, -25.0])
def test_a_dressed_view_is_the_rendering_of_the_textured_body(angle):
  """`render` of the same body with the chart as its texture coordinates, where only the logo is textured."""
  texture = np.random.default_rng(0).random((24, 16, 3), np.float32)
  picture, logo = _dressed(texture, _look(angle))
  inside = CHART.faces & ((CHART.uv >= 0) & (CHART.uv <= 1)).all(axis=(1, 2))
  textured = BODY.mesh._replace(
    uv=CHART.uv.reshape(-1, 2), face_uv=np.arange(CHART.faces.size * 3).reshape(-1, 3), texture=texture
  )
  camera, fine = camera_of(BODY, angle), (2 * SIZE, 2 * SIZE)
  found = render.rasterize(BODY.mesh, camera, fine)
  worn, plain = (render.shrink(render.shade(found, mesh, camera).color, 2) for mesh in (textured, BODY.mesh))
  face = np.asarray(found.face)[..., 0]

  def everywhere(samples):
    return samples.reshape(SIZE, 2, SIZE, 2).all(axis=(1, 3))

  there, away = everywhere((face >= 0) & inside[face]), everywhere((face < 0) | ~CHART.faces[face])
  assert there.sum() > 40
  np.testing.assert_allclose(picture[there], np.asarray(worn)[there], atol=1e-5)
  np.testing.assert_allclose(picture[away], np.asarray(plain)[away], atol=1e-6)
  assert not logo[away].any()


def test_a_constant_texture_gives_the_constant_where_the_logo_fills_the_pixel():
  view = _look()
  picture, logo = _dressed(np.full((24, 16, 3), 0.3, np.float32), view)
  whole = view["pixel"][view["weight"].sum(axis=1) > 1 - 1e-6]
  assert len(whole) > 50
  np.testing.assert_allclose(picture.reshape(-1, 3)[whole], 0.3, atol=1e-6)


def test_the_picture_is_linear_in_the_texture_and_its_gradient_is_the_weights():
  views = stack_views([_look(10.0)], body=[0], angle=[10.0])
  slope = jax.grad(lambda x: dress(x, views)[0].sum())(jnp.full((1, 24, 16, 3), 0.5))
  np.testing.assert_allclose(slope.sum(axis=(0, 1, 2)), views.weight.sum(), rtol=1e-5)


def test_an_arm_before_the_chest_hides_the_logo():
  free = _look()
  points = np.array(BODY.mesh.vertices)
  arm = (points[:, 0] > 0.12) & (points[:, 1] > 0.8) & (points[:, 1] < 1.47) & ~BODY.torso
  points[arm] += (-0.22, 0.0, 0.4)
  crossed = _look(body=BODY._replace(mesh=BODY.mesh._replace(vertices=points)))
  seen, left = set(free["pixel"].tolist()), set(crossed["pixel"].tolist())
  assert arm.any() and left < seen and 0.1 < 1 - len(left) / len(seen) < 0.9
  hidden = np.array(sorted(seen - left))
  skin = np.array([0.8, 0.6, 0.48])
  picture, _ = _dressed(np.zeros((24, 16, 3), np.float32), crossed)
  assert np.abs(picture.reshape(-1, 3)[hidden] - skin).max(axis=-1).min() < 1e-3


def test_the_logo_is_not_seen_from_behind():
  assert len(_look(180.0)["pixel"]) == 0


def test_the_bodys_left_is_on_the_right_of_the_picture():
  """A mark at the world's +x: a mirrored view would show it on the left."""
  texture = np.zeros((24, 16, 3), np.float32)
  texture[:, 8:] = 1.0
  _, logo = _dressed(texture, _look())
  columns = np.nonzero(logo.sum(axis=(0, 2)))[0]
  lit = logo.sum(axis=(0, 2))
  assert np.average(np.arange(SIZE), weights=lit) > SIZE / 2 and len(columns)
  # From the body's left the front is on the left of the picture.
  turned = _look(60.0)
  assert np.mean(turned["pixel"] % SIZE) < np.mean(_look(-60.0)["pixel"] % SIZE)


def test_a_letter_shows_clothing_around_it():
  mask = FULL.copy()
  mask[:, 8:] = 0.0
  part, whole = _look(mask=mask), _look()
  assert 0.3 < part["weight"].sum() / whole["weight"].sum() < 0.7
  shirt = np.array([0.85, 0.85, 0.87])
  # Where nothing is printed the shirt shows; what is printed and what is not add up to the body.
  np.testing.assert_allclose(part["clean"], whole["clean"], atol=1e-6)
  picture, _ = _dressed(np.broadcast_to(shirt.astype(np.float32), (24, 16, 3)), part)
  torso = np.abs(whole["clean"] - shirt).max(axis=-1) < 1e-3
  np.testing.assert_allclose(picture[torso], whole["clean"][torso], atol=1e-5)


def test_a_patch_has_the_area_of_the_logo_and_does_not_turn():
  views = [_look(angle) for angle in (0.0, 45.0)]
  box = logo_box(views[0])
  area = (box[2] - box[0]) * (box[3] - box[1])
  np.testing.assert_allclose(area, views[0]["weight"].sum(), rtol=1e-6)
  first, second = (with_patch(view, box, FULL) for view in views)
  np.testing.assert_array_equal(first["pixel"], second["pixel"])
  np.testing.assert_array_equal(first["uv"], second["uv"])
  np.testing.assert_allclose(first["weight"].sum(), area, rtol=0.05)
  assert (first["alpha"] >= views[0]["alpha"] - 1e-6).all()
  np.testing.assert_array_equal(bare(first)["alpha"], views[0]["alpha"])
  assert not len(bare(first)["pixel"])


def test_a_logo_that_is_not_seen_has_no_box():
  with pytest.raises(ValueError, match="lies off the body"):
    logo_box(_look(180.0))


def test_stacked_views_pad_with_nothing():
  views = [_look(angle) for angle in (0.0, 60.0)]
  stacked = stack_views(views, body=[0, 0], angle=[0.0, 60.0])
  texture = np.random.default_rng(1).random((24, 16, 3), np.float32)
  pictures, _ = dress(jnp.asarray(texture)[None], stacked)
  for picture, view in zip(pictures, views, strict=True):
    np.testing.assert_allclose(picture, _dressed(texture, view)[0], atol=1e-6)
  assert isinstance(stacked, Views) and stacked.texture.tolist() == [0, 0]
