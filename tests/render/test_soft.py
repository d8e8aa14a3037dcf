"""Soft rendering against closed forms, a dense float64 loop and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from render.dense import random_mesh, soft
from vita_jax import render

SQUARE = render.orthographic_camera((0.0, 0.0, 2.0), near=1.0, far=100.0)
PINHOLE = render.perspective_camera((0.3, -0.4, 3.0), fov=50.0, near=1.0, far=100.0)
# One program per structure of mesh and size: compiling is most of the time of these tests.
silhouette = jax.jit(render.silhouette, static_argnums=2)
soft_render = jax.jit(
  render.soft_render, static_argnums=2, static_argnames=("shading", "filter", "cull", "softras_compat")
)
TRIANGLE = np.float32([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0]])


def _pixel(x, y, side=20):
  """(row, column) of the pixel whose centre is at (x, y)."""
  return round((1 - y) * side / 2 - 0.5), round((1 + x) * side / 2 - 0.5)


@pytest.mark.parametrize(
  ("x", "y", "expected"),
  [(0.1, 0.1, 0.731059), (0.25, -0.1, 0.268941), (-0.1, -0.1, 0.119203), (0.3, 0.3, 0.377541)],
)
def test_the_probability_of_a_triangle_in_closed_form(x, y, expected):
  # Shifted so that the point is a pixel's centre.
  place = np.float32([0.05 - x, 0.05 - y, 0])
  mesh = render.Mesh(jnp.asarray(TRIANGLE + place), jnp.arange(3)[None])
  alpha = silhouette(mesh, SQUARE, (20, 20), sigma=0.01)
  assert alpha[_pixel(0.05, 0.05)] == pytest.approx(expected, abs=2e-6)


def test_two_faces_of_one_half_make_three_quarters():
  edge = np.float32([[-3, 0.05, 0], [3, 0.05, 0], [0, 9, 0]])  # an edge through pixel centres
  mesh = render.Mesh(jnp.asarray(np.concatenate([edge, edge])), jnp.arange(6).reshape(2, 3))
  assert silhouette(mesh, SQUARE, (20, 20), sigma=0.01)[_pixel(0.05, 0.05)] == pytest.approx(0.75)


def test_depth_weights_in_closed_form():
  full = np.float32([[-9, -9, 0], [9, -9, 0], [0, 9, 0]])
  vertices = np.concatenate([full, full - [0, 0, 1]])  # at depths 2 and 3
  colors = jnp.array([[1.0, 0], [0, 1.0]])
  mesh = render.Mesh(jnp.asarray(vertices), jnp.arange(6).reshape(2, 3), face_colors=colors)
  image = soft_render(mesh, SQUARE, (4, 4), sigma=1e-5, gamma=0.01)
  np.testing.assert_allclose(image.color[2, 2], [0.733040, 0.266960], atol=2e-6)
  np.testing.assert_allclose(image.alpha, 1, atol=1e-6)


def test_the_background_weighs_what_the_formula_says_and_more_as_released():
  full = np.float32([[-9, -9, -90], [9, -9, -90], [0, 9, -90]])  # far away: zbar = 8 / 99
  mesh = render.Mesh(jnp.asarray(full), jnp.arange(3)[None], face_colors=jnp.zeros((1, 1)))
  gamma, epsilon = 0.05, 1e-3
  zbar = (100 - 92) / 99
  for compat, power in ((False, 1), (True, 2)):
    image = soft_render(
      mesh, SQUARE, (4, 4), gamma=gamma, epsilon=epsilon, background=1.0, softras_compat=compat
    )
    behind = np.exp(power * epsilon / gamma)
    assert image.color[2, 2, 0] == pytest.approx(behind / (behind + np.exp(zbar / gamma)), rel=1e-4)


@pytest.mark.parametrize("camera", [SQUARE, PINHOLE], ids=["orthographic", "perspective"])
@pytest.mark.parametrize(("n_faces", "edge", "sigma"), [(20, 0.6, 1e-3), (300, 0.08, 1e-4)])
def test_pictures_equal_a_dense_loop(camera, n_faces, edge, sigma):
  vertices, faces = random_mesh(n_faces, n_faces, edge=edge)
  vertices *= [1, 1, 0.8]
  colors = np.random.default_rng(1).uniform(size=(3 * n_faces, 3)).astype(np.float32)
  mesh = render.Mesh(jnp.asarray(vertices), jnp.asarray(faces), vertex_colors=jnp.asarray(colors))
  image = soft_render(mesh, camera, (20, 28), sigma=sigma, gamma=1e-2, background=0.3)
  expected = soft(camera, vertices, faces, colors[faces], (20, 28), sigma=sigma, gamma=1e-2, background=0.3)
  np.testing.assert_allclose(image.alpha, expected[1], atol=3e-5)
  np.testing.assert_allclose(image.color, expected[0], atol=2e-4)
  np.testing.assert_allclose(silhouette(mesh, camera, (20, 28), sigma=sigma), expected[1], atol=3e-5)


def test_sharp_limits_are_the_hard_picture():
  vertices, faces = random_mesh(5, 30, edge=0.4)
  colors = jnp.asarray(np.random.default_rng(2).uniform(size=(30, 3)).astype(np.float32))
  mesh = render.Mesh(jnp.asarray(vertices), jnp.asarray(faces), face_colors=colors)
  found = render.rasterize(mesh, SQUARE, (32, 32))
  image = soft_render(mesh, SQUARE, (32, 32), sigma=1e-9, gamma=1e-6, cull="none")
  hard = render.shade(found, mesh, SQUARE)
  far_from_edges = np.abs(np.asarray(silhouette(mesh, SQUARE, (32, 32), sigma=1e-6)) - 0.5) > 0.49
  inner = far_from_edges & (np.asarray(found.barycentric[..., 0, :]).min(-1) > 0.05)
  np.testing.assert_allclose(np.asarray(image.color)[inner], np.asarray(hard.color)[inner], atol=1e-4)


@pytest.mark.parametrize(
  "camera", [pytest.param(SQUARE, marks=pytest.mark.slow), PINHOLE], ids=["orthographic", "perspective"]
)
def test_gradients_equal_finite_differences_in_float64(camera):
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
    weights = jnp.asarray(rng.normal(size=(12, 12, 4)))
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
      image = render.soft_render(body, seen, (12, 12), lights=lights, **soft)
      return jnp.sum(jnp.concatenate([image.color, image.alpha[..., None]], -1) * weights)

    gradients = jax.jit(jax.grad(loss))(given)
    assert gradients["vertices"].dtype == jnp.float64
    for name, value in given.items():
      direction = jnp.asarray(rng.normal(size=value.shape))
      step = 1e-6 / float(jnp.linalg.norm(direction))
      up, down = (loss({**given, name: value + sign * step * direction}) for sign in (1, -1))
      slope = float(up - down) / (2 * step)
      assert jnp.vdot(gradients[name], direction) == pytest.approx(slope, rel=1e-5, abs=1e-6), name


def test_a_silhouette_pulls_a_triangle_to_its_target():
  mesh = render.Mesh(jnp.asarray(TRIANGLE * 2 - [0.5, 0.5, 0]), jnp.arange(3)[None])
  target = silhouette(mesh._replace(vertices=mesh.vertices + jnp.array([0.2, 0.1, 0])), SQUARE, (32, 32))

  @jax.jit
  def gradient(shift):
    def loss(shift):
      moved = mesh._replace(vertices=mesh.vertices + jnp.append(shift, 0.0))
      return jnp.mean((silhouette(moved, SQUARE, (32, 32), sigma=1e-3) - target) ** 2)

    return jax.grad(loss)(shift)

  shift, tx = jnp.zeros(2), optax.adam(0.02)
  state = tx.init(shift)
  for _ in range(60):
    update, state = tx.update(gradient(shift), state)
    shift = optax.apply_updates(shift, update)
  np.testing.assert_allclose(shift, [0.2, 0.1], atol=0.02)


def test_faces_behind_the_camera_have_no_silhouette_and_finite_gradients():
  vertices = jnp.asarray(np.concatenate([TRIANGLE, TRIANGLE + [0, 0, 9], TRIANGLE * [1, 1, 0] + [0, 0, 3]]))
  mesh = render.Mesh(vertices, jnp.arange(9).reshape(3, 3))
  alone = render.Mesh(vertices[:3], jnp.arange(3)[None])
  camera = PINHOLE
  np.testing.assert_allclose(
    silhouette(mesh, camera, (16, 16)), silhouette(alone, camera, (16, 16)), atol=1e-6
  )
  gradient = jax.grad(lambda v: jnp.sum(silhouette(mesh._replace(vertices=v), camera, (16, 16))))(vertices)
  assert np.isfinite(gradient).all() and (np.asarray(gradient[3:]) == 0).all()
