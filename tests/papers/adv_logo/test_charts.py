"""The logo transformation: charts of unlike bodies, seen from outside, and what one texture does on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax import render
from vita_jax.papers.adv_logo.bodies import load_bodies, mannequin, proportioned
from vita_jax.papers.adv_logo.charts import (
  Landmarks,
  Place,
  flat_faces,
  logo_transformation,
  make_chart,
  storage_order,
)

BODY = mannequin()


def _chart(kind="planar", body=BODY, **place):
  return make_chart(kind, body.mesh, body.landmarks, Place(**place), torso=body.torso)


@pytest.mark.parametrize("kind", ["planar", "cylindrical"])
@pytest.mark.parametrize(("side", "sign"), [("front", 1), ("back", -1)])
def test_the_texture_reads_from_left_to_right_and_upright_for_who_faces_it(kind, side, sign):
  chart = _chart(kind, side=side)
  middle = np.asarray(BODY.mesh.vertices)[BODY.mesh.faces].mean(axis=1)[chart.faces]
  u, v = chart.uv.mean(axis=1)[chart.faces].T
  assert np.corrcoef(u, sign * middle[:, 0])[0, 1] > 0.95  # the body's left is on the right of who faces it
  assert np.corrcoef(v, middle[:, 1])[0, 1] > 0.99
  assert (sign * middle[:, 2] > 0).mean() > 0.95


def test_the_rectangle_follows_the_landmarks():
  chart = _chart(width=0.5, height=0.5, drop=0.2)
  corners = np.asarray(BODY.mesh.vertices, np.float64)[BODY.mesh.faces]
  length, across = 1.48 - 0.92, 2 * 0.19
  np.testing.assert_allclose(chart.uv[..., 0], 0.5 + corners[..., 0] / (0.5 * across), atol=1e-5)
  top = 1.48 - 0.2 * length
  np.testing.assert_allclose(
    chart.uv[..., 1], (corners[..., 1] - (top - 0.5 * length)) / (0.5 * length), atol=1e-5
  )


@pytest.mark.parametrize("kind", ["planar", "cylindrical"])
def test_a_body_of_another_size_and_place_has_the_same_chart(kind):
  def moved(x):
    return np.asarray(x) * 2.5 + np.array([3.0, -1.0, 0.5])

  other = make_chart(
    kind,
    BODY.mesh._replace(vertices=moved(BODY.mesh.vertices)),
    Landmarks(*(moved(x) for x in BODY.landmarks)),
    Place(),
    torso=BODY.torso,
  )
  chart = _chart(kind)
  assert (other.faces == chart.faces).all()
  np.testing.assert_allclose(other.uv[chart.faces], chart.uv[chart.faces], atol=1e-4)


def test_a_cylinder_is_unrolled_without_stretch():
  angle = np.linspace(-np.pi, np.pi, 33)[:-1]
  ring = np.stack([np.sin(angle), np.zeros(32), np.cos(angle)], axis=-1)
  points = np.concatenate([ring, ring + (0, 1, 0)]).astype(np.float32)
  i, j = np.arange(32), (np.arange(32) + 1) % 32
  faces = np.concatenate([np.stack([i, j, j + 32], 1), np.stack([i, j + 32, i + 32], 1)]).astype(np.int32)
  marks = Landmarks(np.array([0, 1.1, 0]), np.array([0, -0.1, 0]), np.array([1, 1, 0]), np.array([-1, 1, 0]))
  chart = make_chart("cylindrical", render.Mesh(points, faces), marks, Place(drop=0.0, height=1.0, span=180))
  corner = points[faces][chart.faces]
  angles = np.arctan2(corner[..., 0], corner[..., 2])
  np.testing.assert_allclose(chart.uv[chart.faces][..., 0], 0.5 + angles / np.pi, atol=1e-6)
  assert chart.faces.sum() == 2 * 16  # half of the cylinder


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"drop": 5.0}, "lies off the body: no face on its front"),
    ({"side": "left"}, "unknown side 'left'"),
  ],
)
def test_a_logo_off_the_body_is_refused(change, message):
  with pytest.raises(ValueError, match=message):
    _chart(**change)


def test_a_lying_body_is_refused():
  marks = BODY.landmarks._replace(neck=np.array([0.0, 0.9, 1.0]))
  with pytest.raises(ValueError, match="the neck is .* above the hips"):
    make_chart("planar", BODY.mesh, marks, Place())


def test_each_face_gathers_the_texel_at_its_middle_and_passes_its_gradient_back():
  chart, texture = _chart(), jax.random.uniform(jax.random.key(0), (12, 10, 3))
  mask = jnp.ones((12, 10)).at[:, 5:].set(0.0)
  dressed = logo_transformation(BODY.mesh, chart, texture, mask=mask)
  expected, counts = np.array(BODY.mesh.face_colors), np.zeros((12, 10))
  for face in np.flatnonzero(chart.faces):
    u, v = chart.uv[face].mean(axis=0)
    if 0 <= u <= 1 and 0 <= v <= 1:
      row, column = min(int((1 - v) * 12), 11), min(int(u * 10), 9)
      if column < 5:
        expected[face] = texture[row, column]
        counts[row, column] += 1
  np.testing.assert_array_equal(dressed.face_colors, expected)
  assert counts.sum() > 20
  slope = jax.grad(lambda x: logo_transformation(BODY.mesh, chart, x, mask=mask).face_colors.sum())(texture)
  np.testing.assert_array_equal(slope, np.repeat(counts[..., None], 3, axis=-1))


def test_flat_faces_sample_bilinearly_what_the_transformation_gathers():
  chart, texture = _chart(), jax.random.uniform(jax.random.key(0), (12, 10, 3))
  flat = flat_faces(chart, (12, 10))
  seen = render.sample(texture, jnp.asarray(flat.uv[:, 1]))
  gathered = logo_transformation(BODY.mesh, chart, texture).face_colors
  np.testing.assert_allclose(seen[flat.faces], gathered[flat.faces], atol=1e-5)


def test_in_storage_order_a_texture_means_something_else_on_another_mesh():
  chart = storage_order(_chart(), (12, 10))
  texels = np.arange(120).reshape(12, 10, 1)
  found = render.sample(jnp.asarray(texels, jnp.float32), jnp.asarray(chart.uv[:, 0]), filter="nearest")[:, 0]
  n = int(chart.faces.sum())
  np.testing.assert_array_equal(found[chart.faces], np.arange(n) % 120)


def test_bodies_of_ones_own_get_landmarks_by_proportion_or_by_name(tmp_path):
  mesh = BODY.mesh
  render.save_mesh(tmp_path / "plain.obj", mesh)
  np.savez(tmp_path / "marked.npz", vertices=mesh.vertices, faces=mesh.faces, neck=np.array([0, 1.5, 0.0]))
  marked, plain = load_bodies(str(tmp_path), ())
  assert (marked.name, plain.name) == ("marked", "plain")
  assert marked.landmarks.neck[1] == 1.5
  guessed = proportioned(mesh)
  np.testing.assert_allclose(plain.landmarks.neck, guessed.neck, atol=1e-6)
  np.testing.assert_allclose(guessed.neck[1], 0.85 * 1.75, atol=0.01)
  assert make_chart("planar", plain.mesh, plain.landmarks, Place()).faces.any()


def _nan(folder):
  vertices = np.array(BODY.mesh.vertices)
  vertices[3] = np.nan
  np.savez(folder / "a.npz", vertices=vertices, faces=BODY.mesh.faces)


def _out_of_range(folder):
  (folder / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 4\n")


def _huge(folder):
  (folder / "a.obj").write_text("v 0 0 0\nv 1e9 0 0\nv 0 1 0\nf 1 2 3\n")


def _no_faces(folder):
  (folder / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")


def _nothing(folder):
  (folder / "notes.txt").write_text("")


@pytest.mark.parametrize(
  ("write", "message"),
  [
    (_nan, "vertex 3 is not finite"),
    (_out_of_range, r"faces must be in 0 .. 2"),
    (_huge, "scale the mesh down"),
    (_no_faces, "has no faces"),
    (_nothing, "has no meshes: they end in"),
  ],
)
def test_a_bad_mesh_is_named_in_one_line(write, message, tmp_path):
  write(tmp_path)
  with pytest.raises(ValueError, match=message) as caught:
    load_bodies(str(tmp_path), ())
  assert "\n" not in str(caught.value)


def test_quads_are_triangulated_and_open_meshes_are_worn(tmp_path):
  """No texture coordinates, an open surface, an edge of three faces: all of it can wear a logo."""
  lines = ["v -1 0 0", "v 1 0 0", "v 1 2 0", "v -1 2 0", "v 0 3 1", "f 1 2 3 4", "f 3 4 5", "f 4 3 5"]
  (tmp_path / "wall.obj").write_text("\n".join(lines) + "\n")
  (body,) = load_bodies(str(tmp_path), ("wall",))
  assert make_chart("planar", body.mesh, body.landmarks, Place()).faces.any()
  with pytest.raises(ValueError, match="unknown body 'wal': did you mean 'wall'"):
    load_bodies(str(tmp_path), ("wal",))
