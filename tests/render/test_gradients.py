"""Gradients of texture and silhouettes point where Mitsuba 3's do (fixtures/make_mitsuba_gradients.py)."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax import render
from vita_jax.base.files import load_python_file

FIXTURES = Path(__file__).parent / "fixtures"
theirs = load_python_file(FIXTURES / "make_mitsuba_gradients.py")
FOUND = dict(np.load(FIXTURES / "mitsuba_gradients.npz"))
CAMERA = render.perspective_camera((0.0, 0.0, theirs.DISTANCE), fov=theirs.FOV)
PIXELS = (theirs.SIZE, theirs.SIZE)


@pytest.fixture(
  scope="module", params=[FOUND, pytest.param(None, marks=pytest.mark.parity)], ids=["kept", "live"]
)
def expected(request):
  """The arrays of the fixture, and where Mitsuba is installed those of today."""
  if request.param is not None:
    return request.param
  mitsuba = pytest.importorskip("mitsuba")
  try:
    mitsuba.set_variant("llvm_ad_rgb")
    return theirs.gradients(mitsuba)
  except (ImportError, RuntimeError) as error:
    pytest.skip(f"Mitsuba needs LLVM 19, named by DRJIT_LIBLLVM_PATH: {error}")


def _cosine(a, b):
  return float(np.sum(a * b) / np.sqrt(np.sum(a**2) * np.sum(b**2)))


def test_a_texture_gradient_is_mitsubas(expected):
  texture, uv, target = theirs.texture_inputs()
  vertices, faces = map(jnp.asarray, theirs.sphere())
  mesh = render.Mesh(vertices, faces, uv=jnp.asarray(uv), face_uv=faces)
  found = render.rasterize(mesh, CAMERA, PIXELS)

  def loss(texture):
    color = render.shade(found, mesh._replace(texture=texture), CAMERA).color
    return jnp.sum(jnp.where(found.face >= 0, color - target, 0.0) ** 2)

  slope, other = np.asarray(jax.grad(loss)(jnp.asarray(texture))), expected["texture"]
  assert _cosine(slope, other) > 0.9999
  np.testing.assert_allclose(slope, other, atol=1e-4 * np.abs(other).max())


@pytest.mark.parametrize("name", theirs.CASES)
def test_a_silhouette_gradient_points_where_mitsubas_does(expected, name):
  """Where both are defined: at vertices on the outline. Inner edges are soft here, and nothing there."""
  vertices, faces = theirs.CASES[name]()
  mesh = render.Mesh(jnp.asarray(vertices), jnp.asarray(faces))

  def picture(vertices):
    return render.silhouette(mesh._replace(vertices=vertices), CAMERA, PIXELS, sigma=3e-5)

  slope = np.asarray(jax.grad(lambda x: jnp.sum(picture(x) * theirs.weights()))(mesh.vertices))
  other, length = expected[name], np.linalg.norm(expected[name], axis=1)
  outline = length > 0.05 * length.max()
  assert outline.sum() >= 12
  assert _cosine(slope[outline], other[outline]) > 0.98
  assert _cosine(slope, other) > 0.98
  assert np.linalg.norm(slope) / np.linalg.norm(other) == pytest.approx(1.0, abs=0.15)
  assert np.mean(np.abs(picture(mesh.vertices) - expected[f"{name}_picture"])) < 0.01
