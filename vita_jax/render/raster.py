"""Hard rasterization: which face each pixel sees, at which place of the face, at which depth.

Visibility has no gradient and may be kept while only textures, colours and lights change. Barycentric
coordinates and depth are computed again from the vertices at the visible faces, so gradients flow to vertices
and camera everywhere but across silhouettes; `soft.py` has those.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vita_jax.render.camera import Camera, to_screen
from vita_jax.render.mesh import Mesh
from vita_jax.render.pairs import Boxes, fold_pairs, make_boxes, pixel_of

CULL = ("none", "back", "front")
SLIVER = 1e-9  # twice the area, in normalised units, below which a triangle draws nothing
_NO_FACE = jnp.iinfo(jnp.int32).max


class Fragments(NamedTuple):
  """What the pixels of a picture see, nearest first.

  Attributes:
    face: int32 [H, W, K], -1 for none.
    barycentric: float32 [H, W, K, 3], perspective-correct, sum 1; zeros where there is no face.
    depth: float32 [H, W, K], view depth ("forward"); 0 where there is no face.
  """

  face: jax.Array
  barycentric: jax.Array
  depth: jax.Array


def rasterize(
  mesh: Mesh,
  camera: Camera,
  size: tuple[int, int],
  *,
  faces_per_pixel: int = 1,
  cull: str = "none",
) -> Fragments:
  """Rasterizes a mesh: the nearest faces that cover each pixel's centre.

  Args:
    mesh: vertices [V, 3] and faces [F, 3] are read.
    camera: see `camera.py`.
    size: (height, width).
    faces_per_pixel: K, how many of the nearest faces are kept; costs a pass over the mesh each.
    cull: faces that are left out: "none" | "back" (seen from inside) | "front".

  Returns:
    Fragments. Equal depths are ordered by the number of the face.

  Examples:
    >>> from vita_jax import render
    >>> mesh = render.Mesh(jnp.array([[-1.0, -1, 0], [1, -1, 0], [0, 1, 0]]), jnp.array([[0, 1, 2]]))
    >>> render.rasterize(mesh, render.orthographic_camera((0, 0, 2)), (8, 8)).face.shape
    (8, 8, 1)

  Raises:
    ValueError: an unknown `cull`, or a size or number that is not positive.
  """
  visible = visibility(mesh, camera, size, faces_per_pixel=faces_per_pixel, cull=cull)
  return fragments(mesh, camera, visible)


@functools.partial(jax.jit, static_argnames=("size", "faces_per_pixel", "cull"))
def visibility(
  mesh: Mesh, camera: Camera, size: tuple[int, int], *, faces_per_pixel: int = 1, cull: str = "none"
) -> jax.Array:
  """Finds the faces that `rasterize` finds, int32 [H, W, K], -1 for none; no gradient flows."""
  if cull not in CULL:
    raise ValueError(f"unknown cull '{cull}': choose one of {', '.join(CULL)}")
  if min(*size, faces_per_pixel) < 1:
    raise ValueError(f"size {size} and faces_per_pixel {faces_per_pixel} must be positive")
  vertices, camera = jax.lax.stop_gradient((jnp.asarray(mesh.vertices), camera))
  corners = to_screen(camera, vertices, size)[mesh.faces]  # [F, 3, 4]
  boxes = face_boxes(corners, camera, size, cull=cull)
  inverse, _ = face_inverse(corners, boxes.first + 0.5)
  depths = corners[..., 3]

  def peel(behind, _):
    nearest = _nearest(boxes, inverse, depths, camera, size, behind)
    return nearest, nearest[1]

  start = jnp.full(size[0] * size[1], -jnp.inf, corners.dtype), jnp.full(size[0] * size[1], -1, jnp.int32)
  _, faces = jax.lax.scan(peel, start, length=faces_per_pixel)
  return jnp.where(faces == _NO_FACE, -1, faces).T.reshape(*size, faces_per_pixel)


def face_boxes(
  corners: jax.Array,
  camera: Camera,
  size: tuple[int, int],
  *,
  cull: str = "none",
  margin: float | jax.Array = 0.0,
) -> Boxes:
  """Finds the pixels that each face may touch.

  Args:
    corners: float32 [F, 3, 4], of `to_screen`.
    camera: for near and far.
    size: (height, width).
    cull: see `rasterize`.
    margin: pixels by which the boxes are wider than the faces.
  """
  x, y, w, depth = (corners[..., i] for i in range(4))
  front = w > 1e-6
  safe = jnp.where(front, w, 1.0)
  places = jnp.stack([y, x], axis=-1) / safe[..., None]
  low, high = jnp.min(places, axis=1) - margin, jnp.max(places, axis=1) + margin
  # A face that crosses the plane of the eye may be anywhere in the picture.
  crossing = jnp.any(front, axis=1) & ~jnp.all(front, axis=1)
  low = jnp.where(crossing[:, None], 0.0, low)
  high = jnp.where(crossing[:, None], jnp.array(size, high.dtype), high)
  determinant = _determinant(corners)
  scale = jnp.where(crossing, 1.0, jnp.prod(safe, axis=1)) * (min(size) / 2) ** 2
  drawn = jnp.any(front, axis=1) & (jnp.abs(determinant) > SLIVER * scale)
  drawn &= jnp.any(depth >= camera.near, axis=1) & jnp.any(depth <= camera.far, axis=1)
  drawn &= jnp.all(jnp.isfinite(corners), axis=(1, 2))
  if cull != "none":
    drawn &= (determinant < 0) == (cull == "back")
  return make_boxes(low, high, drawn, size)


def _determinant(corners: jax.Array) -> jax.Array:
  """det [[X], [Y], [w]] of each face: negative for a front face (counter-clockwise, rows counted down)."""
  origin = jnp.stack([corners[:, 0, 1], corners[:, 0, 0]], axis=-1)
  w = corners[:, 0, 2]
  fine = jnp.abs(w) > 1e-6
  origin = jnp.where(fine[:, None], origin / jnp.where(fine, w, 1.0)[:, None], 0.0)
  return face_inverse(corners, origin)[1]


def face_inverse(corners: jax.Array, origin: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Inverts the matrix of each face that takes barycentric to homogeneous pixel coordinates.

  With M = [[X_0, X_1, X_2], [Y_0, Y_1, Y_2], [w_0, w_1, w_2]] and lambda = M^-1 (x, y, 1), the pixel (x, y)
  is in the face iff all lambda >= 0 and sum(lambda) = 1 / w > 0; lambda / sum(lambda) are the
  perspective-correct barycentric coordinates (Olano and Greer, "Triangle scan conversion using 2D
  homogeneous coordinates", 1997). This holds for faces that reach behind the camera, too. Coordinates count
  from `origin`, near the face: small triangles would else be differences of large numbers.

  Args:
    corners: float32 [..., 3, 4].
    origin: float32 [..., 2], (y, x) in pixels.

  Returns:
    (M^-1 [..., 3, 3], where the columns go with x, y and 1, det M [...]); 0 where M is singular.
  """
  w = corners[..., 2]
  x = corners[..., 0] - origin[..., 1:] * w
  y = corners[..., 1] - origin[..., :1] * w
  by_x = _turn(y, 1) * _turn(w, 2) - _turn(y, 2) * _turn(w, 1)
  by_y = _turn(x, 2) * _turn(w, 1) - _turn(x, 1) * _turn(w, 2)
  by_1 = _turn(x, 1) * _turn(y, 2) - _turn(x, 2) * _turn(y, 1)
  determinant = jnp.sum(x * by_x, axis=-1)
  fine = determinant != 0
  scale = jnp.where(fine, 1.0 / jnp.where(fine, determinant, 1.0), 0.0)
  return jnp.stack([by_x, by_y, by_1], axis=-1) * scale[..., None, None], determinant


def _turn(x: jax.Array, by: int) -> jax.Array:
  """The values of the corner that is `by` further around."""
  return jnp.roll(x, -by, axis=-1)


def _nearest(boxes, inverse, depths, camera, size, behind):
  """(depth, face) [pixels] of the nearest face beyond (depth, face) `behind`; ties by the face's number."""
  n_pixels = size[0] * size[1]

  def body(carry, chunk):
    nearest, face = carry
    m, z = inverse[chunk.face], depths[chunk.face]
    dx = (chunk.column - boxes.first[chunk.face, 1, None, None]).astype(m.dtype)
    dy = (chunk.row - boxes.first[chunk.face, 0, None, None]).astype(m.dtype)
    each = [
      m[:, k, 0, None, None] * dx + (m[:, k, 1, None, None] * dy + m[:, k, 2, None, None]) for k in range(3)
    ]
    total = each[0] + each[1] + each[2]
    depth = sum(part * z[:, k, None, None] for k, part in enumerate(each)) / jnp.where(total > 0, total, 1.0)
    inside = chunk.valid & (each[0] >= 0) & (each[1] >= 0) & (each[2] >= 0) & (total > 0)
    inside &= (depth >= camera.near) & (depth <= camera.far)
    pixel, number = pixel_of(chunk, size), chunk.face[:, None, None]
    if behind is not None:
      last = [x.at[pixel].get(mode="clip") for x in behind]
      inside &= (depth > last[0]) | ((depth == last[0]) & (number > last[1]))
    depth = jnp.where(inside, depth, jnp.inf)
    new = nearest.at[pixel].min(depth, mode="drop")
    hit = inside & (depth == new.at[pixel].get(mode="clip"))
    kept = jnp.where(new < nearest, _NO_FACE, face)
    return new, kept.at[jnp.where(hit, pixel, n_pixels)].min(jnp.broadcast_to(number, hit.shape), mode="drop")

  return fold_pairs(boxes, body, (jnp.full(n_pixels, jnp.inf, depths.dtype), jnp.full(n_pixels, _NO_FACE)))


@jax.jit
def fragments(mesh: Mesh, camera: Camera, visible: jax.Array) -> Fragments:
  """Computes where the pixels hit the faces that they see; differentiable in vertices and camera.

  Args:
    mesh: the one that `visible` was computed with, or one that hides and shows the same faces.
    camera: as well.
    visible: int32 [H, W, K], of `visibility`.
  """
  height, width, _ = visible.shape
  there = visible >= 0
  if mesh.faces.shape[0] == 0:
    return Fragments(visible, jnp.zeros((*visible.shape, 3)), jnp.zeros(visible.shape))
  corners = to_screen(camera, jnp.asarray(mesh.vertices), (height, width))[mesh.faces].reshape(-1, 12)
  number = jnp.maximum(visible, 0)
  # One gather per number, each done once: a gather of rows is slower, and XLA would repeat it per use.
  seen = jax.lax.optimization_barrier([corners[:, i][number] for i in range(12)])
  row, column = jnp.arange(height)[:, None, None] + 0.5, jnp.arange(width)[:, None] + 0.5
  w, depths = seen[2::4], seen[3::4]
  x = [seen[4 * k] - column * w[k] for k in range(3)]  # from the pixel itself
  y = [seen[4 * k + 1] - row * w[k] for k in range(3)]
  # The last column of `face_inverse`, but for the determinant, which cancels.
  cross = [x[k - 2] * y[k - 1] - x[k - 1] * y[k - 2] for k in range(3)]
  total = cross[0] + cross[1] + cross[2]
  there &= total != 0
  scale = jnp.where(there, 1.0 / jnp.where(there, total, 1.0), 0.0)
  barycentric = [part * scale for part in cross]
  depth = barycentric[0] * depths[0] + barycentric[1] * depths[1] + barycentric[2] * depths[2]
  return Fragments(visible, jnp.stack(barycentric, axis=-1), depth)


def interpolated(attributes: Mapping[str, jax.Array], found: Fragments) -> dict[str, jax.Array]:
  """Interpolates corner attributes [F, 3, n] at what the pixels see: name -> [H, W, K, n]."""
  number = jnp.maximum(found.face, 0)
  weights = [found.barycentric[..., k] for k in range(3)]
  values = {}
  for name, x in attributes.items():
    width = x.shape[-1]
    rows = x.reshape(-1, 3 * width)
    seen = jax.lax.optimization_barrier([rows[:, i][number] for i in range(3 * width)])  # as in `fragments`
    each = [sum(weights[k] * seen[k * width + i] for k in range(3)) for i in range(width)]
    values[name] = jnp.stack(each, axis=-1)
  return values
