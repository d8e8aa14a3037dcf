"""Wavefront OBJ: reading vertices, texture coordinates and polygons; writing triangles."""

from __future__ import annotations

import os

import numpy as np

from vita_jax.base.files import write_text
from vita_jax.data.files_text import read_text
from vita_jax.render.mesh import Mesh, check_mesh


def read_obj(path: str | os.PathLike) -> Mesh:
  """Reads `v` (with colours, if they are there), `vt` and `f`; polygons become fans of triangles.

  Other lines (normals, groups, materials) are not used.

  Raises:
    ValueError: a line that cannot be read (named), or a mesh that `check_mesh` refuses.
  """
  vertices, uv, faces, face_uv = [], [], [], []
  for number, line in enumerate(read_text(path).splitlines(), 1):
    kind, *words = line.split("#")[0].split() or [""]
    try:
      if kind == "v":
        vertices.append([float(word) for word in words])
      elif kind == "vt":
        uv.append([float(word) for word in words[:2]])
      elif kind == "f":
        corners = [_corner(word, len(vertices), len(uv)) for word in words]
        if len(corners) < 3:
          raise ValueError("a face of fewer than three corners")
        for i in range(1, len(corners) - 1):
          triangle = (corners[0], corners[i], corners[i + 1])
          faces.append([v for v, _ in triangle])
          face_uv.append([t for _, t in triangle])
    except ValueError as error:
      raise ValueError(f"{os.fspath(path)} line {number}: {error}") from error
  if len({len(v) for v in vertices} - {3, 4, 6}) or len({len(v) for v in vertices}) > 1:
    raise ValueError(f"{os.fspath(path)}: `v` lines must all have 3 numbers, or 6 with a colour")
  points = np.array(vertices, np.float64).reshape(len(vertices), -1)
  textured = bool(faces) and all(t >= 0 for face in face_uv for t in face)
  mesh = Mesh(
    vertices=points[:, :3] if len(points) else np.zeros((0, 3)),
    faces=np.array(faces, np.int64).reshape(-1, 3),
    uv=np.array(uv, np.float64).reshape(-1, 2) if textured else None,
    face_uv=np.array(face_uv, np.int64).reshape(-1, 3) if textured else None,
    vertex_colors=points[:, 3:] if points.shape[1:] == (6,) else None,
  )
  return check_mesh(mesh, name=os.fspath(path))


def _corner(word: str, n_vertices: int, n_uv: int) -> tuple[int, int]:
  """(vertex, uv or -1) of `v`, `v/vt`, `v//vn` or `v/vt/vn`; negative numbers count from the end."""
  parts = word.split("/")
  index = int(parts[0])
  vertex = index - 1 if index > 0 else n_vertices + index
  if index == 0 or vertex < 0:
    raise ValueError(f"'{word}' names no vertex: numbers start at 1")
  if len(parts) < 2 or not parts[1]:
    return vertex, -1
  index = int(parts[1])
  place = index - 1 if index > 0 else n_uv + index
  if index == 0 or place < 0:
    raise ValueError(f"'{word}' names no texture coordinate: numbers start at 1")
  return vertex, place


def write_obj(path: str | os.PathLike, mesh: Mesh) -> None:
  """Writes vertices (with their colours), texture coordinates and triangles."""
  rows = np.asarray(mesh.vertices)
  if mesh.vertex_colors is not None:
    rows = np.concatenate([rows, np.asarray(mesh.vertex_colors)[:, :3]], axis=1)
  lines = ["v " + " ".join(f"{x:.9g}" for x in row) for row in rows]
  if mesh.uv is not None and mesh.face_uv is not None:
    lines += [f"vt {u:.9g} {v:.9g}" for u, v in np.asarray(mesh.uv)]
    pairs = zip(np.asarray(mesh.faces) + 1, np.asarray(mesh.face_uv) + 1, strict=True)
    lines += ["f " + " ".join(f"{v}/{t}" for v, t in zip(*pair, strict=True)) for pair in pairs]
  else:
    lines += ["f " + " ".join(map(str, face)) for face in np.asarray(mesh.faces) + 1]
  write_text(path, "\n".join(lines) + "\n")
