"""Triangle meshes as plain arrays: checks, normals, and batches of unlike meshes by padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray
LARGEST = 1e6  # of a coordinate: float32 no longer resolves a body's triangles beyond it


class Mesh(NamedTuple):
  """A triangle mesh; every field but the first two may be None.

  Triangles are counter-clockwise seen from outside, in right-handed coordinates.

  Attributes:
    vertices: float32 [V, 3].
    faces: int32 [F, 3], indices of vertices.
    uv: float32 [U, 2], texture coordinates; (0, 0) is the lower left corner of the texture.
    face_uv: int32 [F, 3], indices of uv.
    vertex_colors: float32 [V, C].
    face_colors: float32 [F, C].
    texture: float32 [H, W, C], row 0 on top.
    joints: float32 [J, 4, 4], the inverse bind matrix of each joint (see `skin`).
    parents: int32 [J], the parent of each joint, -1 for a root.
    weights: float32 [V, J], each row sums to 1.
  """

  vertices: Array
  faces: Array
  uv: Array | None = None
  face_uv: Array | None = None
  vertex_colors: Array | None = None
  face_colors: Array | None = None
  texture: Array | None = None
  joints: Array | None = None
  parents: Array | None = None
  weights: Array | None = None


def check_mesh(mesh: Mesh, *, name: str = "the mesh") -> Mesh:
  """Returns the mesh with its arrays as float32 and int32, checked on the host.

  Args:
    mesh: arrays of any number type.
    name: what to call it in a message, e.g. its file.

  Raises:
    ValueError: a wrong shape, an index out of range, a coordinate that is NaN, infinite or beyond 1e6, or
      weights of joints that do not sum to 1.
  """
  vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
  if vertices.ndim != 2 or vertices.shape[1] != 3:
    raise ValueError(f"{name}: vertices must be [V, 3], got {list(vertices.shape)}")
  if faces.ndim != 2 or faces.shape[1] != 3 or (faces.size and faces.dtype.kind not in "iu"):
    raise ValueError(f"{name}: faces must be integers [F, 3], got {faces.dtype} {list(faces.shape)}")
  if not np.isfinite(vertices).all():
    bad = int(np.argmax(~np.isfinite(vertices).all(axis=1)))
    raise ValueError(f"{name}: vertex {bad} is not finite: {vertices[bad].tolist()}")
  if (largest := float(np.abs(vertices).max(initial=0))) > LARGEST:
    raise ValueError(f"{name}: a coordinate of {largest:.3g} is beyond {LARGEST:.0e}: scale the mesh down")
  _check_indices(faces, len(vertices), f"{name}: faces")
  if (mesh.uv is None) != (mesh.face_uv is None):
    raise ValueError(f"{name}: uv and face_uv must come together")
  if mesh.uv is not None and mesh.face_uv is not None:
    face_uv = np.asarray(mesh.face_uv)
    if face_uv.shape != faces.shape:
      raise ValueError(f"{name}: face_uv must be {list(faces.shape)}, got {list(face_uv.shape)}")
    _check_indices(face_uv, len(mesh.uv), f"{name}: face_uv")
  for field, rows in (("vertex_colors", len(vertices)), ("face_colors", len(faces))):
    colors = getattr(mesh, field)
    if colors is not None and (np.ndim(colors) != 2 or len(colors) != rows):
      raise ValueError(f"{name}: {field} must be [{rows}, C], got {list(np.shape(colors))}")
  if mesh.weights is not None:
    weights = np.asarray(mesh.weights)
    if mesh.joints is None or weights.shape != (len(vertices), len(mesh.joints)):
      raise ValueError(f"{name}: weights {list(weights.shape)} must be [vertices, joints]")
    if (np.abs(weights.sum(axis=1) - 1) > 1e-3).any():
      raise ValueError(f"{name}: the joint weights of some vertices do not sum to 1: normalise the rows")
  integers = ("faces", "face_uv", "parents")
  kinds: dict[str, type] = {field: np.int32 if field in integers else np.float32 for field in Mesh._fields}
  arrays: dict[str, Any] = {
    k: None if x is None else np.ascontiguousarray(x, kinds[k]) for k, x in mesh._asdict().items()
  }
  return Mesh(**arrays)


def _check_indices(indices: np.ndarray, count: int, what: str) -> None:
  if indices.size and not (0 <= indices.min() and indices.max() < count):
    raise ValueError(f"{what} must be in 0 .. {count - 1}, found {indices.min()} .. {indices.max()}")


def face_normals(mesh: Mesh) -> jax.Array:
  """Computes the outward unit normal of each face, float32 [F, 3]; zero for a degenerate face."""
  a, b, c = (jnp.asarray(mesh.vertices)[mesh.faces[:, i]] for i in range(3))
  return normalize(jnp.cross(b - a, c - a))


def vertex_normals(mesh: Mesh) -> jax.Array:
  """Computes unit normals of vertices [V, 3]: the sum of the cross products of the faces around each."""
  vertices = jnp.asarray(mesh.vertices)
  a, b, c = (vertices[mesh.faces[:, i]] for i in range(3))
  cross = jnp.cross(b - a, c - a)
  sums = jnp.zeros_like(vertices)
  for corner in range(3):
    sums = sums.at[mesh.faces[:, corner]].add(cross)
  return normalize(sums)


def normalize(x: jax.Array, *, epsilon: float = 1e-12) -> jax.Array:
  """Divides vectors [..., n] by their length; a zero vector stays zero and has a zero gradient."""
  square = jnp.sum(x * x, axis=-1, keepdims=True)
  fine = square > epsilon**2
  return jnp.where(fine, x * jax.lax.rsqrt(jnp.where(fine, square, 1.0)), 0.0)


def batch_meshes(meshes: Sequence[Mesh]) -> Mesh:
  """Stacks meshes of unlike sizes: every field gets a leading axis, padded to the largest.

  Padding faces have three equal corners, which no rasterizer draws; padding vertices belong to none. Use
  `jax.vmap` over the result.

  Raises:
    ValueError: no meshes, or fields that only some of them have.
  """
  if not meshes:
    raise ValueError("batch_meshes needs at least one mesh")
  stacked: dict[str, Any] = {}
  for field in Mesh._fields:
    values = [getattr(mesh, field) for mesh in meshes]
    if all(value is None for value in values):
      stacked[field] = None
      continue
    if any(value is None for value in values):
      raise ValueError(f"only some of the meshes have {field}: give it to all of them or to none")
    shape = np.max([np.shape(value) for value in values], axis=0)
    pads = [[(0, int(n - m)) for n, m in zip(shape, np.shape(v), strict=True)] for v in values]
    stacked[field] = jnp.stack([jnp.pad(jnp.asarray(v), p) for v, p in zip(values, pads, strict=True)])
  return Mesh(**stacked)
