"""Soft rendering against closed forms, a dense float64 loop and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from render.dense import random_mesh, soft
from vita_jax import render
from vita_jax.render import pairs

SQUARE = render.orthographic_camera((0.0, 0.0, 2.0), near=1.0, far=100.0)
PINHOLE = render.perspective_camera((0.3, -0.4, 3.0), fov=50.0, near=1.0, far=100.0)
TRIANGLE = np.float32([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0]])


SIZE = (20, 28)


def _mesh(vertices, colors=None, pad=300):
  """Triangles [3 F, 3] and their corners' colours, padded: one program serves many tests."""
  points, shown = np.zeros((3 * pad, 3), np.float32), np.zeros((3 * pad, 3), np.float32)
  points[: len(vertices)] = vertices
  if colors is not None:
    shown[: len(vertices)] = colors
  faces = jnp.arange(3 * pad).reshape(-1, 3)
  return render.Mesh(jnp.asarray(points), faces, vertex_colors=jnp.asarray(shown))


def _pixel(x, y):
  """(row, column) of the pixel whose centre is at (x, y)."""
  return round(SIZE[0] / 2 - 10 * y - 0.5), round(SIZE[1] / 2 + 10 * x - 0.5)


@pytest.mark.parametrize(
  ("x", "y", "expected"),
  [(0.1, 0.1, 0.731059), (0.25, -0.1, 0.268941), (-0.1, -0.1, 0.119203), (0.3, 0.3, 0.377541)],
)
def test_the_probability_of_a_triangle_in_closed_form(x, y, expected):
  # Shifted so that the point is a pixel's centre.
  place = np.float32([0.05 - x, 0.05 - y, 0])
  alpha = render.silhouette(_mesh(TRIANGLE + place), SQUARE, SIZE, sigma=0.01)
  assert alpha[_pixel(0.05, 0.05)] == pytest.approx(expected, abs=2e-6)


def test_two_faces_of_one_half_make_three_quarters():
  edge = np.float32([[-3, 0.05, 0], [3, 0.05, 0], [0, 9, 0]])  # an edge through pixel centres
  mesh = _mesh(np.concatenate([edge, edge]))
  assert render.silhouette(mesh, SQUARE, SIZE, sigma=0.01)[_pixel(0.05, 0.05)] == pytest.approx(0.75)


def test_depth_weights_in_closed_form():
  full = np.float32([[-99, -99, 0], [99, -99, 0], [0, 99, 0]])
  vertices = np.concatenate([full, full - [0, 0, 1]])  # at depths 2 and 3
  mesh = _mesh(vertices, np.repeat([[1.0, 0, 0], [0, 1.0, 0]], 3, axis=0))
  image = render.soft_render(mesh, SQUARE, SIZE, sigma=1e-5, gamma=0.01)
  np.testing.assert_allclose(image.color[10, 14], [0.733040, 0.266960, 0], atol=2e-6)
  np.testing.assert_allclose(image.alpha, 1, atol=1e-6)


def test_the_background_weighs_what_the_formula_says_and_more_as_released():
  full = np.float32([[-99, -99, -90], [99, -99, -90], [0, 99, -90]])  # far away: zbar = 8 / 99
  mesh = _mesh(full)
  gamma, epsilon = 0.05, 1e-3
  zbar = (100 - 92) / 99
  for compat, power in ((False, 1), (True, 2)):
    options = {"gamma": gamma, "epsilon": epsilon, "background": 1.0, "softras_compat": compat}
    image = render.soft_render(mesh, SQUARE, SIZE, sigma=1e-5, **options)
    behind = np.exp(power * epsilon / gamma)
    assert image.color[10, 14, 0] == pytest.approx(behind / (behind + np.exp(zbar / gamma)), rel=1e-4)


@pytest.mark.parametrize("camera", [SQUARE, PINHOLE], ids=["orthographic", "perspective"])
@pytest.mark.parametrize(("n_faces", "edge", "sigma"), [(20, 0.6, 1e-3), (300, 0.08, 1e-4)])
def test_pictures_equal_a_dense_loop(camera, n_faces, edge, sigma):
  vertices, faces = random_mesh(n_faces, n_faces, edge=edge)
  vertices *= [1, 1, 0.8]
  colors = np.random.default_rng(1).uniform(size=(3 * n_faces, 3)).astype(np.float32)
  mesh = _mesh(vertices, colors)
  image = render.soft_render(mesh, camera, SIZE, sigma=sigma, gamma=1e-2, background=0.3)
  expected = soft(camera, vertices, faces, colors[faces], SIZE, sigma=sigma, gamma=1e-2, background=0.3)
  np.testing.assert_allclose(image.alpha, expected[1], atol=3e-5)
  np.testing.assert_allclose(image.color, expected[0], atol=2e-4)
  np.testing.assert_allclose(render.silhouette(mesh, camera, SIZE, sigma=sigma), expected[1], atol=3e-5)


def test_sharp_limits_are_the_hard_picture():
  vertices, _ = random_mesh(5, 30, edge=0.4)
  mesh = _mesh(vertices, np.random.default_rng(2).uniform(size=(90, 3)))
  found = render.rasterize(mesh, SQUARE, SIZE, cull="back")
  image = render.soft_render(mesh, SQUARE, SIZE, sigma=1e-9, gamma=1e-6)
  hard = render.shade(found, mesh, SQUARE)
  soft_alpha = np.asarray(render.silhouette(mesh, SQUARE, SIZE, sigma=1e-6))
  far_from_edges = np.abs(soft_alpha - 0.5) > 0.49
  inner = far_from_edges & (np.asarray(found.barycentric[..., 0, :]).min(-1) > 0.05)
  np.testing.assert_allclose(np.asarray(image.color)[inner], np.asarray(hard.color)[inner], atol=1e-4)


@pytest.mark.parametrize(
  ("camera", "windows", "size"),
  [
    (PINHOLE, (16,), (12, 12)),  # one loop instead of three: compiling is the time of this test
    pytest.param(PINHOLE, pairs.WINDOWS, (12, 13), marks=pytest.mark.slow),
    pytest.param(SQUARE, pairs.WINDOWS, (12, 13), marks=pytest.mark.slow),
  ],
  ids=["one window", "perspective", "orthographic"],
)
def test_gradients_equal_finite_differences_in_float64(camera, windows, size, monkeypatch):
  monkeypatch.setattr(pairs, "WINDOWS", windows)
  vertices, faces = random_mesh(7, 6, edge=0.7)
  rng = np.random.default_rng(0)
  with jax.enable_x64(True):
    camera = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), camera)
    mesh = render.Mesh(
      jnp.asarray(vertices, jnp.float64),
      jnp.asarray(faces),
      uv=jnp.asarray(rng.uniform(size=(18, 2))),
      face_uv=jnp.asarray(faces),
      texture=jnp.asarray(rng.uniform(size=(5, 6, 3))),
    )
    weights = jnp.asarray(rng.normal(size=(*size, 4)))
    given = {
      "vertices": mesh.vertices,
      "texture": mesh.texture,
      "direction": jnp.array([0.3, 0.5, 0.9]),
      "translation": camera.translation,
      "focal": camera.focal,
      "sigma": jnp.array(3e-2),
      "gamma": jnp.array(3e-2),
    }

    @jax.jit
    def loss(given):
      seen = camera._replace(translation=given["translation"], focal=given["focal"])
      lights = render.Lights(0.4, 0.6, given["direction"], 0.2, 4.0)
      body = mesh._replace(vertices=given["vertices"], texture=given["texture"])
      soft = {"sigma": given["sigma"], "gamma": given["gamma"], "shading": "phong", "cull": "none"}
      image = render.soft_render(body, seen, size, lights=lights, **soft)
      return jnp.sum(jnp.concatenate([image.color, image.alpha[..., None]], -1) * weights)

    gradients = jax.jit(jax.grad(loss))(given)
    assert gradients["vertices"].dtype == jnp.float64
    for name, value in given.items():
      direction = jnp.asarray(rng.normal(size=value.shape))
      step = 1e-6 / float(jnp.linalg.norm(direction))
      up, down = (loss({**given, name: value + sign * step * direction}) for sign in (1, -1))
      slope = float(up - down) / (2 * step)
      assert jnp.vdot(gradients[name], direction) == pytest.approx(slope, rel=1e-5, abs=1e-6), name


@jax.jit
@jax.grad
def _slope(vertices, camera, target):
  """The gradient to the vertices of the mean squared difference of a silhouette from its target."""
  mesh = _mesh(np.zeros((0, 3)))._replace(vertices=vertices)
  return jnp.mean((render.silhouette(mesh, camera, SIZE, sigma=1e-3) - target) ** 2)


def test_a_silhouette_pulls_a_triangle_to_its_target():
  mesh = _mesh(TRIANGLE * 2 - [0.5, 0.5, 0])
  moved = mesh._replace(vertices=mesh.vertices + jnp.array([0.2, 0.1, 0]))
  target = render.silhouette(moved, SQUARE, SIZE, sigma=1e-3)

  shift, tx = jnp.zeros(2), optax.adam(0.02)
  state = tx.init(shift)
  for _ in range(60):
    slope = _slope(mesh.vertices + jnp.append(shift, 0.0), SQUARE, target)
    update, state = tx.update(jnp.sum(slope, axis=0)[:2], state)
    shift = optax.apply_updates(shift, update)
  np.testing.assert_allclose(shift, [0.2, 0.1], atol=0.02)


def test_faces_behind_the_camera_have_no_silhouette_and_finite_gradients():
  behind = np.concatenate([TRIANGLE, TRIANGLE + [0, 0, 9], TRIANGLE * [1, 1, 0] + [0, 0, 3]])
  alone, mesh = (render.silhouette(_mesh(v), PINHOLE, SIZE, sigma=1e-3) for v in (TRIANGLE, behind))
  np.testing.assert_allclose(mesh, alone, atol=1e-6)
  slope = np.asarray(_slope(_mesh(behind).vertices, PINHOLE, jnp.zeros(SIZE)))
  assert np.isfinite(slope).all() and (slope[3:] == 0).all() and slope[:3].any()


@pytest.mark.slow
def test_gradients_of_sixteen_views_equal_those_of_each():
  vertices, faces = random_mesh(11, 20, edge=0.4)
  mesh = render.Mesh(jnp.asarray(vertices), jnp.asarray(faces))
  cameras = [render.perspective_camera(render.orbit(3.0, 22.5 * i), near=1.0) for i in range(16)]

  def area(vertices, camera):
    return jnp.sum(render.silhouette(mesh._replace(vertices=vertices), camera, (16, 16), sigma=1e-3))

  slope = jax.jit(jax.grad(area))
  stacked = jax.tree.map(lambda *x: jnp.stack(x), *cameras)
  together = jax.jit(jax.vmap(jax.grad(area), (None, 0)))(mesh.vertices, stacked)
  for i, camera in enumerate(cameras):
    np.testing.assert_allclose(together[i], slope(mesh.vertices, camera), rtol=1e-4, atol=1e-4)
