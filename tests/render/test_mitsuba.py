"""Face ids and depths equal those of Mitsuba 3's ray tracing (fixtures/make_mitsuba.py)."""

import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from render.dense import random_mesh
from vita_jax import render
from vita_jax.base.files import load_python_file

FIXTURE = np.load(Path(__file__).parent / "fixtures" / "mitsuba.npz")
CAMERAS = {
  "orthographic": render.orthographic_camera((0.0, 0.0, 3.0)),
  "perspective": render.perspective_camera((0.0, 0.0, 3.0), fov=40.0),
}


def _check(name, vertices, faces, camera):
  ids, depth = FIXTURE[f"{name}_face"], FIXTURE[f"{name}_depth"]
  found = render.rasterize(render.Mesh(jnp.asarray(vertices), jnp.asarray(faces)), camera, ids.shape)
  face = np.asarray(found.face[..., 0])
  assert np.mean((face >= 0) != (ids >= 0)) <= 1e-3  # coverage
  assert np.mean(face == ids) >= 0.999
  same = face == ids
  np.testing.assert_allclose(np.asarray(found.depth[..., 0])[same], depth[same], atol=1e-5)


@pytest.mark.parametrize("camera", CAMERAS)
def test_random_triangles(camera):
  _check(camera, *random_mesh(400, 400, edge=0.15), CAMERAS[camera])


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_body_of_many_small_faces(camera):
  path = Path(os.environ.get("VITA_DATA_DIR", "")) / "human" / "humans.npz"
  if not path.is_file():
    pytest.skip("needs human/humans.npz under VITA_DATA_DIR")
  body = np.load(path)
  points = body["male_average_vertices"].astype(np.float32)
  points -= (points.max(0) + points.min(0)) / 2
  _check(f"body_{camera}", points, body["faces"], CAMERAS[camera])


@pytest.mark.parity
def test_the_fixture_is_what_mitsuba_finds_today():
  pytest.importorskip("mitsuba")
  make = load_python_file(Path(__file__).parent / "fixtures" / "make_mitsuba.py")
  vertices, faces = random_mesh(400, 400, edge=0.15)
  for name, (fov, distance) in make.CASES.items():
    ids, depth = make.trace(vertices, faces, *make.rays(48, fov=fov, distance=distance))
    np.testing.assert_array_equal(ids.reshape(48, 48), FIXTURE[f"{name}_face"])
    np.testing.assert_allclose(depth.reshape(48, 48), FIXTURE[f"{name}_depth"], atol=1e-5)
