"""What the renderer is measured on: a closed surface of any number of faces, and a human figure."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from vita_jax import render
from vita_jax.data.files import read_npz
from vita_jax.data.sources import missing, source_files

DISTANCE, FOV, TEXELS = 3.0, 45.0, 256  # the camera's, on +z and towards the origin; side of the texture


def knot(n_faces: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns (vertices [V, 3], faces [F, 3], uv [V, 2]) of a tube around a trefoil knot, F near n_faces."""
  around = max(3, round((n_faces / 20) ** 0.5))
  along = max(3, round(n_faces / (2 * around)))
  s, t = np.meshgrid(np.linspace(0, 1, along + 1), np.linspace(0, 1, around + 1), indexing="ij")
  centre, forward = _curve(2 * np.pi * s), _curve(2 * np.pi * s + 1e-3) - _curve(2 * np.pi * s - 1e-3)
  side = np.cross(forward, [0.0, 0.0, 1.0])
  side /= np.linalg.norm(side, axis=-1, keepdims=True)
  up = np.cross(side, forward)
  up /= np.linalg.norm(up, axis=-1, keepdims=True)
  angle = 2 * np.pi * t[..., None]
  points = centre + 0.2 * (np.cos(angle) * side + np.sin(angle) * up)
  first = (np.arange(along)[:, None] * (around + 1) + np.arange(around)).reshape(-1, 1)
  far = around + 1
  faces = np.concatenate([first + [0, far, 1], first + [1, far, far + 1]])
  uv = np.stack([s, t], axis=-1).reshape(-1, 2)
  return points.reshape(-1, 3).astype(np.float32), faces.astype(np.int32), uv.astype(np.float32)


def body() -> tuple[np.ndarray, ...] | None:
  """Returns (vertices, faces, uv, face_uv) of a human figure of human/humans.npz, about the origin.

  None where that file is not under $VITA_DATA_DIR.
  """
  files = source_files("human")
  if files is None:
    return None
  arrays = read_npz(*files.values())
  points = arrays["male_average_vertices"].astype(np.float32)
  return points - (points.max(0) + points.min(0)) / 2, arrays["faces"], arrays["uv"], arrays["face_uv"]


def shape(name: str) -> tuple[np.ndarray, ...]:
  """Returns (vertices [V, 3], faces [F, 3], uv [T, 2], face_uv [F, 3]): of "body" or a knot."""
  if name != "body":
    vertices, faces, uv = knot(int(name))
    return vertices, faces, uv, faces
  found = body()
  if found is None:
    raise FileNotFoundError(missing("human"))
  return found


def scene(name: str) -> tuple[render.Mesh, render.Camera]:
  """Returns a shape with a grey texture [256, 256, 3], and a perspective camera before it."""
  vertices, faces, uv, face_uv = map(jnp.asarray, shape(name))
  mesh = render.Mesh(vertices, faces, uv=uv, face_uv=face_uv, texture=jnp.full((TEXELS, TEXELS, 3), 0.5))
  return mesh, render.perspective_camera((0.0, 0.0, DISTANCE), fov=FOV, near=0.5, far=10.0)


def _curve(t: np.ndarray) -> np.ndarray:
  x, y = np.sin(t) + 2 * np.sin(2 * t), np.cos(t) - 2 * np.cos(2 * t)
  return 0.27 * np.stack([x, y, -np.sin(3 * t)], axis=-1)
