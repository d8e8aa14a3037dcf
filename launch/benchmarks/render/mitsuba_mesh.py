"""A mesh in Mitsuba 3 from arrays, for the benchmarks here and for the scripts of tests/render/fixtures."""

from __future__ import annotations

from typing import Any

import numpy as np


def mitsuba_mesh(
  mi: Any, vertices: np.ndarray, faces: np.ndarray, uv: np.ndarray | None = None, **parts: Any
) -> Any:
  """Returns a `mitsuba.Mesh`.

  Args:
    mi: the module `mitsuba`, with its variant set.
    vertices: float [V, 3].
    faces: int [F, 3].
    uv: float [V, 2], texture coordinates of the vertices.
    parts: dictionaries for `mitsuba.load_dict`, e.g. `bsdf={"type": "diffuse"}`.
  """
  properties = mi.Properties()
  for name, value in parts.items():
    properties[name] = mi.load_dict(value)
  mesh = mi.Mesh("mesh", len(vertices), len(faces), has_vertex_texcoords=uv is not None, props=properties)
  parameters = mi.traverse(mesh)
  parameters["vertex_positions"] = np.ascontiguousarray(vertices, np.float32).ravel()
  parameters["faces"] = np.ascontiguousarray(faces, np.uint32).ravel()
  if uv is not None:
    parameters["vertex_texcoords"] = np.ascontiguousarray(uv, np.float32).ravel()
  parameters.update()
  return mesh
