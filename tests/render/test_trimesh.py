"""Face ids equal those of trimesh's ray casting (fixtures/make_trimesh.py)."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax import render
from vita_jax.base.files import load_python_file

FIXTURES = Path(__file__).parent / "fixtures"
theirs = load_python_file(FIXTURES / "make_trimesh.py")
FOUND = dict(np.load(FIXTURES / "trimesh.npz"))


@pytest.fixture(
  scope="module", params=[FOUND, pytest.param(None, marks=pytest.mark.parity)], ids=["kept", "live"]
)
def expected(request):
  if request.param is not None:
    return request.param
  trimesh = pytest.importorskip("trimesh")
  pytest.importorskip("rtree")
  return theirs.cast(trimesh)


@pytest.mark.parametrize("name", theirs.CAMERAS)
def test_face_ids(expected, name):
  fov, distance = theirs.CAMERAS[name]
  eye = (0.0, 0.0, distance)
  camera = render.orthographic_camera(eye) if fov is None else render.perspective_camera(eye, fov=fov)
  vertices, faces = theirs.triangles()
  mesh = render.Mesh(jnp.asarray(vertices), jnp.asarray(faces))
  face = np.asarray(render.rasterize(mesh, camera, expected[name].shape).face[..., 0])
  assert (expected[name] >= 0).mean() > 0.3
  assert (face == expected[name]).mean() >= 0.995
