"""Textures, light, maps, cameras and pictures: closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from vita_jax import render
from vita_jax.render.pictures import as_bytes

SQUARE = render.orthographic_camera((0.0, 0.0, 2.0))
WALL = render.Mesh(
  jnp.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]),
  jnp.array([[0, 1, 2], [0, 2, 3]]),
  uv=jnp.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]),
  face_uv=jnp.array([[0, 1, 2], [0, 2, 3]]),
)


@pytest.mark.parametrize("filter", ["bilinear", "nearest"])
def test_a_wall_shows_its_texture_upright(filter):
  texture = jnp.asarray(np.random.default_rng(0).uniform(size=(8, 8, 3)).astype(np.float32))
  image = render.render(WALL._replace(texture=texture), SQUARE, (8, 8), filter=filter)
  np.testing.assert_allclose(image.color, texture, atol=1e-5)
  np.testing.assert_array_equal(image.alpha, 1)
  with pytest.raises(ValueError, match="unknown filter 'cubic'"):
    render.sample(texture, jnp.zeros((1, 2)), filter="cubic")


def test_bilinear_samples_are_between_texels_and_repeat_the_edge():
  texture = jnp.array([[[0.0], [1.0]], [[2.0], [3.0]]])  # row 0 on top
  uv = jnp.array([[0.25, 0.75], [0.5, 0.5], [0.5, 0.75], [-3.0, 9.0], [0.75, 0.25]])
  np.testing.assert_allclose(render.sample(texture, uv)[:, 0], [0, 1.5, 0.5, 0, 3], atol=1e-6)


def test_a_texture_gets_the_exact_gradient_of_what_is_seen():
  texture = jnp.zeros((4, 4, 1))
  found = render.rasterize(WALL, SQUARE, (8, 8))

  def total(texture):
    return jnp.sum(render.shade(found, WALL._replace(texture=texture), SQUARE).color)

  np.testing.assert_allclose(jnp.sum(jax.grad(total)(texture)), 64, rtol=1e-5)


@pytest.mark.parametrize("shading", ["flat", "gouraud", "phong"])
def test_light_follows_the_cosine(shading):
  for degrees in (0, 60, 100):
    angle = np.deg2rad(degrees)
    lights = render.Lights(0.25, 0.5, (0.0, 3 * np.sin(angle), 3 * np.cos(angle)))
    image = render.render(WALL, SQUARE, (8, 8), lights=lights, shading=shading)
    np.testing.assert_allclose(image.color, 0.25 + 0.5 * max(np.cos(angle), 0), atol=1e-5)


def test_a_highlight_is_where_the_mirrored_light_meets_the_eye():
  lights = render.Lights(0.0, 0.0, (0.0, 0.0, 1.0), specular=1.0, shininess=8.0)
  np.testing.assert_allclose(render.render(WALL, SQUARE, (8, 8), lights=lights).color, 1, atol=1e-5)
  camera = render.perspective_camera((0, 0, 1.0), fov=90.0)
  image = render.render(WALL, camera, (5, 5), lights=lights).color[..., 0]
  x = np.array([-0.8, -0.4, 0, 0.4, 0.8])
  expected = (1 / np.sqrt(1 + x[:, None] ** 2 + x**2)) ** 8
  np.testing.assert_allclose(image, expected, atol=1e-4)


def test_maps_of_a_wall():
  np.testing.assert_allclose(render.depth_map(WALL, SQUARE, (8, 8)), 2, atol=1e-6)
  np.testing.assert_allclose(render.normal_map(WALL, SQUARE, (8, 8))[4, 4], [0, 0, -1], atol=1e-6)
  world = render.normal_map(WALL, SQUARE, (8, 8), smooth=False, space="world")
  np.testing.assert_allclose(world[4, 4], [0, 0, 1], atol=1e-6)


def test_antialiasing_averages_and_does_not_darken_edges():
  half = WALL._replace(vertices=WALL.vertices * jnp.array([0.25, 1, 1]))  # covers columns 1.5 to 2.5 of 4
  image = render.render(half._replace(uv=None, face_uv=None), SQUARE, (4, 4), antialias=2, background=1.0)
  np.testing.assert_allclose(image.alpha[1], [0, 0.5, 0.5, 0], atol=1e-6)
  np.testing.assert_allclose(image.color, 1, atol=1e-6)  # white on white
  with pytest.raises(ValueError, match="cannot average 5 x 4 pixels in blocks of 2 x 2"):
    render.shrink(jnp.zeros((5, 4, 1)), 2)


def test_a_mesh_without_faces_shows_the_background():
  empty = render.Mesh(jnp.zeros((0, 3)), jnp.zeros((0, 3), int))
  image = render.render(empty, SQUARE, (4, 4), background=jnp.array([0.1, 0.2, 0.3]))
  np.testing.assert_allclose(image.color[0, 0], [0.1, 0.2, 0.3], atol=1e-6)
  assert (image.alpha == 0).all() and (render.normal_map(empty, SQUARE, (4, 4)) == 0).all()


def test_a_pinhole_projects_as_opencv_does():
  intrinsics = np.array([[500.0, 0, 320], [0, 510.0, 235], [0, 0, 1]])
  distortion = np.array([-0.2, 0.1, 0.001, -0.002, 0.01])
  points = np.array([[0.1, -0.2, 1.5], [0.4, 0.3, 2.0], [-0.5, 0.1, 1.2]])
  camera = render.pinhole_camera(intrinsics, np.eye(3), np.zeros(3), size=(480, 640), distortion=distortion)
  found = render.to_screen(camera, jnp.asarray(points, jnp.float32), (480, 640))
  k1, k2, p1, p2, k3 = distortion
  x, y = points[:, 0] / points[:, 2], points[:, 1] / points[:, 2]
  r2 = x * x + y * y
  radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
  u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
  v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
  expected = np.stack([500 * u + 320, 510 * v + 235], 1) + 0.5  # OpenCV's pixel centres are integers
  np.testing.assert_allclose(found[:, :2] / found[:, 2:3], expected, atol=2e-3)
  np.testing.assert_allclose(found[:, 3], points[:, 2], rtol=1e-6)


@pytest.mark.parametrize(
  ("intrinsics", "message"),
  [(np.eye(4), "must be"), ([[1, 2, 0], [0, 1, 0], [0, 0, 1]], "skew"), (-np.eye(3), "positive focal")],
)
def test_intrinsics_that_cannot_be_are_refused(intrinsics, message):
  with pytest.raises(ValueError, match=message):
    render.check_intrinsics(intrinsics)


def test_a_mark_on_the_left_hand_is_on_the_right_of_the_picture():
  # A body faces +z; +x is its left, which a viewer in front of it sees on the right.
  mark = render.Mesh(jnp.array([[0.5, 0, 0], [0.9, 0, 0], [0.7, 0.4, 0]]), jnp.array([[0, 1, 2]]))
  seen = np.asarray(render.visibility(mark, SQUARE, (32, 32))[..., 0] >= 0)
  assert seen[:, 16:].any() and not seen[:, :16].any()
  behind = render.orthographic_camera((0.0, 0.0, -2.0))
  seen = np.asarray(render.visibility(mark, behind, (32, 32))[..., 0] >= 0)
  assert seen[:, :16].any() and not seen[:, 16:].any()


def test_a_turntable_is_an_animation(tmp_path):
  frames = render.turntable(WALL._replace(uv=None, face_uv=None), views=3, size=(24, 24), antialias=1)
  assert frames.shape == (3, 24, 24, 3) and np.isfinite(frames).all()
  render.save_gif(tmp_path / "a.gif", frames)
  with Image.open(tmp_path / "a.gif") as animation:
    assert animation.n_frames == 3 and animation.size == (24, 24)
  render.save_png(tmp_path / "a.png", frames[0])
  np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), as_bytes(frames[0]))
  with pytest.raises(ValueError, match="at least one picture"):
    render.save_gif(tmp_path / "b.gif", [])


def test_rotations_are_exact_at_zero_and_differentiable():
  np.testing.assert_allclose(render.rotation_of(jnp.zeros(3)), np.eye(3))
  slope = jax.jacobian(render.rotation_of)(jnp.zeros(3))
  np.testing.assert_allclose(slope[2, 1, 0], 1, atol=1e-6)  # about x, y goes to z
  found = render.rotation_of(jnp.array([0.0, 0, np.pi / 2]))
  np.testing.assert_allclose(found @ jnp.array([1.0, 0, 0]), [0, 1, 0], atol=1e-6)
