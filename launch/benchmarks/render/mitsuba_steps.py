"""Worker: Mitsuba 3 on the same mesh, camera and size. Arguments: KIND SHAPE SIDE; see `compare.PEERS`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.measure import serve
from benchmarks.render.mitsuba_mesh import mitsuba_mesh
from benchmarks.render.shape import DISTANCE, FOV, TEXELS, shape

try:
  import drjit as dr
  import mitsuba as mi
except ImportError as error:
  sys.exit(f"{error.name} is missing, which this comparison needs: pip install 'vita_jax[bench]'")

LLVM = 19  # older ones abort in the texture gradient


def main(kind: str, name: str, side: int) -> None:
  try:
    mi.set_variant("llvm_ad_rgb")
    version = dr.detail.llvm_version()
  except (ImportError, RuntimeError) as error:
    sys.exit(f"Mitsuba finds no LLVM, name libLLVM.so of LLVM {LLVM} by DRJIT_LIBLLVM_PATH: {error}")
  if version[0] < LLVM:
    sys.exit(f"Mitsuba finds LLVM {version[0]}, name libLLVM.so of LLVM {LLVM} by DRJIT_LIBLLVM_PATH")
  vertices, faces, uv, face_uv = shape(name)
  if kind.startswith("silhouette"):
    samples = int(kind.split()[1])
    step = _silhouette(vertices, faces, side, samples)
  elif kind == "texture, mi.render":
    step = _rendered(*_split(vertices, faces, uv, face_uv), side)
  else:
    step = _texture(*_split(vertices, faces, uv, face_uv), side, gradient=kind == "texture")

  def run(n: int) -> None:
    for i in range(n):
      step(i)
      dr.sync_thread()

  run(2)
  serve(run, faces=len(faces))


def _split(vertices: np.ndarray, faces: np.ndarray, uv: np.ndarray, face_uv: np.ndarray) -> tuple:
  """(vertices, faces, uv) with one vertex for each pair of place and texture coordinate."""
  pairs = np.stack([faces.ravel(), face_uv.ravel()], axis=-1)
  unique, places = np.unique(pairs, axis=0, return_inverse=True)
  return vertices[unique[:, 0]], places.reshape(-1, 3), uv[unique[:, 1]]


def _texture(
  vertices: np.ndarray, faces: np.ndarray, uv: np.ndarray, side: int, *, gradient: bool
) -> Callable[[int], None]:
  """A picture by a ray through each pixel's centre, two lights, no shadows; or its texture gradient."""
  scene = mi.load_dict({"type": "scene", "mesh": _textured(vertices, faces, uv)})
  parameters = mi.traverse(scene)
  (key,) = [key for key in parameters.keys() if key.endswith("reflectance.data")]
  row, column = np.mgrid[:side, :side] + 0.5
  slope = np.tan(np.deg2rad(FOV) / 2)
  x, y = slope * (2 * column / side - 1), slope * (1 - 2 * row / side)
  towards = np.stack([x, y, -np.ones_like(x)]).reshape(3, -1).astype(np.float32)
  rays = mi.Ray3f(mi.Point3f(0, 0, DISTANCE), mi.Vector3f(*(mi.Float(part) for part in towards)))
  dr.eval(rays)

  def picture() -> Any:
    found = scene.ray_intersect(rays)
    light = 0.5 + 0.5 * dr.maximum(found.sh_frame.n.y, 0.0)  # of render.Lights
    return dr.select(found.is_valid(), found.bsdf().eval_diffuse_reflectance(found) * light, 0.0)

  def step(i: int) -> None:
    if not gradient:
      dr.eval(picture())
      return
    dr.enable_grad(parameters[key])
    parameters.update()
    loss = dr.sum(dr.squared_norm(picture()))
    dr.backward(loss)
    dr.eval(dr.grad(parameters[key]), loss)
    parameters[key] = dr.detach(parameters[key])

  return step


def _textured(vertices: np.ndarray, faces: np.ndarray, uv: np.ndarray) -> Any:
  data = mi.TensorXf(np.full((TEXELS, TEXELS, 3), 0.5, np.float32))
  bitmap = {"type": "bitmap", "data": data, "raw": True, "wrap_mode": "clamp"}
  return mitsuba_mesh(mi, vertices, faces, uv, bsdf={"type": "diffuse", "reflectance": bitmap})


def _rendered(vertices: np.ndarray, faces: np.ndarray, uv: np.ndarray, side: int) -> Callable[[int], None]:
  """The same gradient through `mi.render`: a film, a random ray per pixel, shadows, sampled light."""
  sky = {"type": "constant", "radiance": {"type": "rgb", "value": 0.5}}
  sun = {"type": "directional", "direction": [0, -1, 0], "irradiance": {"type": "rgb", "value": 1.5}}
  integrator = {"type": "direct", "bsdf_samples": 0, "emitter_samples": 1, "hide_emitters": True}
  parts = {"sky": sky, "sun": sun, "integrator": integrator, "sensor": _sensor(side, "rgb")}
  scene = mi.load_dict({"type": "scene", "mesh": _textured(vertices, faces, uv), **parts})
  parameters = mi.traverse(scene)
  (key,) = [key for key in parameters.keys() if key.endswith("reflectance.data")]

  def step(i: int) -> None:
    dr.enable_grad(parameters[key])
    parameters.update()
    loss = dr.sum(dr.square(mi.render(scene, parameters, spp=1, seed=i)), axis=None)
    dr.backward(loss)
    dr.eval(dr.grad(parameters[key]), loss)
    parameters[key] = dr.detach(parameters[key])

  return step


def _sensor(side: int, pixels: str) -> dict[str, Any]:
  film = {"type": "hdrfilm", "width": side, "height": side, "rfilter": {"type": "box"}}
  return {
    "type": "perspective",
    "fov": FOV,
    "fov_axis": "smaller",
    "near_clip": 0.5,
    "to_world": mi.ScalarTransform4f().look_at([0, 0, DISTANCE], [0, 0, 0], [0, 1, 0]),
    "film": {**film, "pixel_format": pixels, "sample_border": pixels == "luminance"},
  }


def _silhouette(vertices: np.ndarray, faces: np.ndarray, side: int, samples: int) -> Callable[[int], None]:
  """The squared sum of a silhouette and its gradient to the vertices, by the projective integrator."""
  emitter = {"type": "area", "radiance": {"type": "rgb", "value": 1.0}}
  parts = {
    "integrator": {"type": "direct_projective", "sppi": 0},
    "sensor": _sensor(side, "luminance"),
  }
  scene = mi.load_dict({"type": "scene", "mesh": mitsuba_mesh(mi, vertices, faces, emitter=emitter), **parts})
  parameters = mi.traverse(scene)
  (key,) = [key for key in parameters.keys() if key.endswith("vertex_positions")]
  start = mi.Float(np.ascontiguousarray(vertices, np.float32).ravel())

  def step(i: int) -> None:
    parameters[key] = mi.Float(start)
    dr.enable_grad(parameters[key])
    parameters.update()
    loss = dr.sum(dr.square(mi.render(scene, parameters, spp=samples, seed=i)), axis=None)
    dr.backward(loss)
    dr.eval(dr.grad(parameters[key]), loss)

  return step


if __name__ == "__main__":
  main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
