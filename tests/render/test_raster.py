"""Hard rasterization against a dense float64 loop, closed forms, and meshes that break rasterizers."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render.dense import hard, random_mesh
from vita_jax import render

SQUARE = render.orthographic_camera((0.0, 0.0, 2.0), near=0.1, far=10.0)
PINHOLE = render.perspective_camera((0.3, -0.4, 3.0), fov=50.0)


def rasterize(vertices, camera, size, k=1, pad=512):
  """Rasterizes triangles [3 F, 3], padded to `pad` faces without area: one program serves many tests."""
  padded = np.zeros((3 * pad, 3), np.float32)
  padded[: len(vertices)] = vertices
  mesh = render.Mesh(jnp.asarray(padded), jnp.arange(3 * pad).reshape(-1, 3))
  return render.rasterize(mesh, camera, size, faces_per_pixel=k)


def _one(vertices, camera=SQUARE, k=1):
  return rasterize(np.asarray(vertices, np.float32).reshape(-1, 3), camera, (64, 64), k)


@pytest.mark.parametrize("camera", [SQUARE, PINHOLE], ids=["orthographic", "perspective"])
@pytest.mark.parametrize(("n_faces", "edge"), [(20, 0.8), (400, 0.1), (3000, 0.02)])
def test_faces_and_depths_are_those_of_a_dense_loop(camera, n_faces, edge):
  vertices, faces = random_mesh(n_faces, n_faces, edge=edge)
  size = (72, 100)
  found = rasterize(vertices, camera, size, pad=3000)
  expected, depth = hard(camera, vertices, faces, size)
  face = np.asarray(found.face[..., 0])
  # A pixel's centre on an edge to within rounding may go either way.
  assert np.mean(face != expected) < 2e-4
  same = face == expected
  np.testing.assert_allclose(np.asarray(found.depth[..., 0])[same], depth[same], atol=2e-5)
  weights = np.asarray(found.barycentric[..., 0, :])[face >= 0]
  np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
  assert weights.min() > -1e-3


def test_the_picture_has_x_to_the_right_y_up_and_pixel_centres_at_half():
  corner = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 0], [0, 1, 0]])
  covered = np.asarray(_one(corner).face[..., 0]) >= 0
  expected = np.zeros((64, 64), bool)
  expected[:32, 32:] = True  # the upper right quarter, as seen from +z with up = +y
  np.testing.assert_array_equal(covered, expected)


@pytest.mark.parametrize(
  ("azimuth", "eye"), [(0, (0, 0, 2)), (90, (2, 0, 0)), (180, (0, 0, -2)), (270, (-2, 0, 0))]
)
def test_an_orbit_and_what_it_sees(azimuth, eye):
  np.testing.assert_allclose(render.orbit(2.0, azimuth), eye, atol=1e-6)
  rotation, translation = render.look_at(eye)
  np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
  np.testing.assert_allclose(rotation @ jnp.zeros(3) + translation, [0, 0, 2], atol=1e-6)
  assert np.linalg.det(np.asarray(rotation)) == pytest.approx(-1)  # right, up, forward is left-handed


def test_coverage_of_a_disc_is_its_area():
  angles = np.linspace(0, 2 * np.pi, 257)
  rim = 0.6 * np.stack([np.cos(angles), np.sin(angles), np.zeros(257)], 1)
  fan = np.stack([np.zeros((256, 3)), rim[:-1], rim[1:]], 1)
  covered = np.asarray(_one(fan).face[..., 0] >= 0).mean()
  assert covered == pytest.approx(np.pi * 0.6**2 / 4, rel=1e-2)


def test_layers_are_peeled_in_order_and_ties_by_number():
  full = np.array([[-3.0, -3, 0], [3, -3, 0], [0, 5, 0]])
  layers = [full + [0, 0, z] for z in (0.0, 0.5, -0.5, 0.5)]
  found = _one(np.concatenate(layers), k=5)
  np.testing.assert_array_equal(found.face[32, 32], [1, 3, 0, 2, -1])
  np.testing.assert_allclose(found.depth[32, 32], [1.5, 1.5, 2, 2.5, 0], atol=1e-6)
  np.testing.assert_array_equal(found.barycentric[32, 32, 4], 0)


def test_nothing_is_drawn_behind_the_camera_or_beyond_near_and_far():
  triangle = np.array([[-1.0, -1, 0], [1, -1, 0], [0, 1, 0]])
  for z in (5.0, 1.95, -9.0):  # behind, nearer than near, farther than far
    assert (_one(triangle + [0, 0, z]).face == -1).all()
  assert (_one(triangle).face >= 0).any()


def test_a_floor_that_reaches_behind_the_eye_covers_the_lower_half():
  floor = 50 * np.array([[-1.0, 0, -1], [-1, 0, 1], [1, 0, 1], [-1, 0, -1], [1, 0, 1], [1, 0, -1]])
  camera = render.perspective_camera((0, 1.0, 0), at=(0, 1.0, -1.0), fov=90.0)
  found = _one(floor, camera)
  row = np.arange(64)
  below = row + 0.5 > 32 + 32 / 50  # the floor's far edge, 50 units away
  np.testing.assert_array_equal((np.asarray(found.face[..., 0]) >= 0).all(1), below)
  np.testing.assert_allclose(found.depth[40, 10, 0], 32 / (40.5 - 32), rtol=1e-4)


@jax.jit
@jax.value_and_grad
def _total(points):
  mesh = render.Mesh(points, jnp.arange(len(points)).reshape(-1, 3))
  return jnp.sum(render.depth_map(mesh, SQUARE, (8, 8))) + jnp.sum(render.silhouette(mesh, SQUARE, (8, 8)))


@pytest.mark.parametrize(
  "vertices",
  [
    np.zeros((0, 3)),
    np.zeros((3, 3)),  # one point
    [[0, 0, 0], [1, 1, 0], [0.5, 0.5, 0]],  # a line
    [[0, 0, 0], [1e-7, 0, 0], [0, 1e-7, 0]],
  ],
  ids=["no faces", "point", "line", "speck"],
)
def test_a_mesh_without_area_draws_nothing_and_has_finite_gradients(vertices):
  found = _one(vertices)
  assert (found.face == -1).all() and (found.depth == 0).all()
  value, gradient = _total(jnp.asarray(vertices, jnp.float32).reshape(-1, 3))
  assert value == 0 and np.isfinite(gradient).all()


def test_large_and_tiny_faces_together_draw_what_each_draws_alone():
  vertices, _ = random_mesh(3, 500, edge=0.01)
  wall = np.float32([[-9, -9, -1.5], [9, -9, -1.5], [0, 9, -1.5]])
  alone = _one(vertices).face[..., 0]
  both = _one(np.concatenate([vertices, wall]))
  np.testing.assert_array_equal(both.face[..., 0], np.where(alone >= 0, alone, 500))


def test_culling_keeps_one_side():
  front = np.array([[-1.0, -1, 0], [1, -1, 0], [0, 1, 0]])  # counter-clockwise from +z
  for vertices, kept in ((front, "back"), (front[::-1], "front")):
    mesh = render.Mesh(jnp.asarray(vertices), jnp.arange(3)[None])
    for cull in ("back", "front"):
      assert (render.visibility(mesh, SQUARE, (8, 8), cull=cull) >= 0).any() == (cull == kept)
  with pytest.raises(ValueError, match="unknown cull 'both': choose one of none, back, front"):
    render.visibility(mesh, SQUARE, (8, 8), cull="both")


def test_views_and_unlike_meshes_in_a_batch_equal_single_ones():
  meshes = [render.Mesh(*map(jnp.asarray, random_mesh(s, n))) for s, n in ((0, 5), (1, 30))]
  cameras = [SQUARE, PINHOLE]
  stacked = jax.tree.map(lambda *x: jnp.stack(x), *cameras)
  batch = render.batch_meshes(meshes)
  together = jax.vmap(lambda m, c: render.rasterize(m, c, (24, 32)))(batch, stacked)
  for i, (mesh, camera) in enumerate(zip(meshes, cameras, strict=True)):
    face, depth = hard(camera, np.asarray(mesh.vertices), np.asarray(mesh.faces), (24, 32))
    np.testing.assert_array_equal(together.face[i, ..., 0], face)
    np.testing.assert_allclose(together.depth[i, ..., 0], depth, atol=1e-5)
  with pytest.raises(ValueError, match="only some of the meshes have uv"):
    render.batch_meshes([meshes[0], meshes[1]._replace(uv=jnp.zeros((1, 2)))])


def test_an_edge_of_three_faces_is_drawn_like_any_other():
  spine = np.float32([[0, -1, 0], [0, 1, 0]])  # shared by three fins: no manifold
  fins = np.concatenate([[*spine, tip] for tip in np.float32([[0.8, 0, 0], [-0.8, 0, 0], [0.5, 0, -0.5]])])
  expected, _ = hard(SQUARE, fins, np.arange(9).reshape(-1, 3), (64, 64))
  np.testing.assert_array_equal(_one(fins).face[..., 0], expected)


def test_a_vertex_that_is_not_a_number_is_refused_and_draws_nothing():
  vertices = np.float32([[-1, -1, 0], [1, -1, 0], [0, np.nan, 0]])
  with pytest.raises(ValueError, match="vertex 2 is not finite"):
    render.check_mesh(render.Mesh(vertices, np.arange(3)[None]))
  assert (_one(vertices).face == -1).all()


@pytest.mark.slow
def test_a_million_faces_need_little_memory_beyond_the_mesh():
  script = Path(__file__).with_name("on_a_million_faces.py")
  done = subprocess.run([sys.executable, script], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout)
  assert found["faces"] >= 1e6 and found["covered"] > 0.5
  assert found["megabytes"] < 1000


@pytest.mark.slow
def test_views_on_two_devices_equal_views_on_one():
  script = Path(__file__).with_name("on_devices.py")
  done = subprocess.run([sys.executable, script], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout)
  assert found["devices"] == 2 and found["sharded"]
  assert found["value"] < 1e-6 and found["gradient"] < 1e-5


def test_depth_gradients_equal_finite_differences():
  vertices = np.float32([[-1, -1, 0.2], [1.2, -0.8, -0.3], [0.1, 1.1, 0.4]])

  visible = _one(vertices, PINHOLE).face

  @jax.jit
  def depth(vertices, camera):
    return render.fragments(render.Mesh(vertices, jnp.arange(3)[None]), camera, visible).depth[32, 32, 0]

  gradient, camera_gradient = jax.jit(jax.grad(depth, (0, 1)))(jnp.asarray(vertices), PINHOLE)
  for place in np.ndindex(3, 3):
    step = np.zeros((3, 3), np.float32)
    step[place] = 1e-2
    slope = (depth(vertices + step, PINHOLE) - depth(vertices - step, PINHOLE)) / 2e-2
    assert gradient[place] == pytest.approx(float(slope), abs=2e-3)
  moved = [PINHOLE._replace(translation=PINHOLE.translation + d * jnp.array([0, 0, 1e-2])) for d in (1, -1)]
  slope = (depth(vertices, moved[0]) - depth(vertices, moved[1])) / 2e-2
  assert camera_gradient.translation[2] == pytest.approx(float(slope), abs=2e-3)
