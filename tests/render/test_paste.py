"""Compositing in closed form, decals, and primitives."""

import jax.numpy as jnp
import numpy as np

from vita_jax import render
from vita_jax.render import paste


def test_pasting_is_alpha_compositing_at_the_lower_edge():
  color = jnp.full((1, 4, 4, 3), 0.2)
  alpha = jnp.full((1, 4, 4), 0.25)
  background = jnp.full((1, 8, 8, 3), 0.8)
  found = np.asarray(paste(color, alpha, background, jnp.array([3])))
  expected = np.full((8, 8, 3), 0.8)
  expected[4:, 3:7] = 0.2 + 0.75 * 0.8
  np.testing.assert_allclose(found[0], expected, atol=1e-6)


def test_black_clothes_do_not_become_transparent():
  """The released code takes exact zeros for empty pixels."""
  found = paste(jnp.zeros((1, 4, 4, 3)), jnp.ones((1, 4, 4)), jnp.ones((1, 4, 4, 3)), jnp.array([0]))
  assert not np.asarray(found).any()


def _wall():
  """Two faces that wear a decal, one that does not, with colours of their own."""
  corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0], [3, 1, 0]], np.float32)
  faces = np.array([[0, 1, 2], [0, 2, 3], [1, 4, 2]], np.int32)
  colors = np.array([[0.2, 0.2, 0.9], [0.2, 0.2, 0.9], [0.9, 0.1, 0.1]], np.float32)
  uv = (corners[faces][..., :2] + 1) / 2
  return render.Mesh(corners, faces, face_colors=colors), np.array([True, True, False]), uv


def test_a_decal_lies_upright_over_the_colour_below_and_the_rest_keeps_its_own(tmp_path):
  mesh, faces, uv = _wall()
  decal = np.zeros((8, 6, 3), np.float32)
  decal[:4, :, 1] = 1.0  # the upper half is green
  mask = np.ones((8, 6), np.float32)
  mask[:, 3:] = 0.0  # the right half shows what is below
  worn = render.with_decal(mesh, faces, uv, decal, mask)
  render.save_mesh(tmp_path / "wall.glb", worn)
  again = render.load_mesh(tmp_path / "wall.glb")
  camera = render.orthographic_camera((0, 0, 2), extent=3.2)
  for one in (worn, again):
    picture = np.asarray(render.render(one, camera, (64, 64)).color)
    np.testing.assert_allclose(picture[25, 25], [0, 1, 0], atol=0.01)
    np.testing.assert_allclose(picture[38, 25], [0, 0, 0], atol=0.01)
    np.testing.assert_allclose(picture[25, 38], [0.2, 0.2, 0.9], atol=0.01)
    np.testing.assert_allclose(picture[25, 46], [0.9, 0.1, 0.1], atol=0.01)


def test_colours_of_faces_come_from_wherever_the_mesh_has_them():
  mesh, _, uv = _wall()
  np.testing.assert_array_equal(render.face_colors_of(mesh), mesh.face_colors)
  corners = np.repeat(np.arange(5)[:, None], 3, axis=1).astype(np.float32)
  np.testing.assert_allclose(
    render.face_colors_of(mesh._replace(vertex_colors=corners))[1], [5 / 3] * 3, rtol=1e-6
  )
  textured = mesh._replace(
    texture=np.full((2, 2, 3), 0.3, np.float32), uv=uv.reshape(-1, 2), face_uv=np.arange(9).reshape(3, 3)
  )
  np.testing.assert_allclose(render.face_colors_of(textured), 0.3)
  np.testing.assert_allclose(render.face_colors_of(mesh._replace(face_colors=None)), 0.5)


def test_a_tube_is_closed_and_faces_outwards():
  tube = render.tube([(0, 2, 0, 1, 2), (0, 0, 0, 1, 2)], around=64, between=2)
  corners = tube.vertices[tube.faces].astype(np.float64)
  volume = np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
  np.testing.assert_allclose(volume, 2 * np.pi * 2, rtol=0.01)
  edges = np.sort(tube.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
  assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
