"""Hard rasterization: which face each pixel sees, at which place of the face, at which depth.

Visibility has no gradient and may be kept while only textures, colours and lights change. Barycentric
coordinates and depth are computed again from the vertices at the visible faces, so gradients flow to vertices
and camera everywhere but across silhouettes; `soft.py` has those.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vita_jax.render.camera import Camera, to_screen
from vita_jax.render.mesh import Mesh
from vita_jax.render.pairs import Boxes, fold_pairs, make_boxes, pixel_of
from vita_jax.render.seen import where_seen
from vita_jax.render.views import each_view, view_by_view

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
  given = jax.lax.stop_gradient((jnp.asarray(mesh.vertices), jnp.asarray(mesh.faces), camera))
  return view_by_view(functools.partial(_visible, size, faces_per_pixel, cull))(*given)


def _visible(size, faces_per_pixel, cull, vertices, faces, camera):
  corners = face_corners(to_screen(camera, vertices, size), faces)
  boxes = face_boxes(corners, camera, size, cull=cull)

  def peel(behind, _):
    nearest = _nearest(boxes, corners, camera, size, behind)
    return nearest, nearest[1]

  start = jnp.full(size[0] * size[1], -jnp.inf, vertices.dtype), jnp.full(size[0] * size[1], -1, jnp.int32)
  _, found = jax.lax.scan(peel, start, length=faces_per_pixel)
  return jnp.where(found == _NO_FACE, -1, found).T.reshape(*size, faces_per_pixel)


class Corners(NamedTuple):
  """The three corners of faces in homogeneous pixel coordinates (`to_screen`), each number an array [...].

  One array per number: loops over faces, and gathers, are several times faster so than along short axes.
  """

  x: tuple[jax.Array, ...]
  y: tuple[jax.Array, ...]
  w: tuple[jax.Array, ...]
  depth: tuple[jax.Array, ...]


def face_corners(points: jax.Array, faces: jax.Array) -> Corners:
  """Gathers the corners of faces [..., 3] from vertices [V, 4] of `to_screen`."""
  columns = [points[:, i] for i in range(4)]
  # Each gather is done once: XLA would repeat it per use.
  return jax.lax.optimization_barrier(Corners(*(tuple(x[faces[..., k]] for k in range(3)) for x in columns)))


def face_boxes(
  corners: Corners,
  camera: Camera,
  size: tuple[int, int],
  *,
  cull: str = "none",
  margin: float | jax.Array = 0.0,
) -> Boxes:
  """Finds the pixels that each face may touch.

  Args:
    corners: of `face_corners`, [F].
    camera: for near and far.
    size: (height, width).
    cull: see `rasterize`.
    margin: pixels by which the boxes are wider than the faces.
  """
  front = [w > 1e-6 for w in corners.w]
  safe = [jnp.where(ahead, w, 1.0) for ahead, w in zip(front, corners.w, strict=True)]
  any_front, all_front = front[0] | front[1] | front[2], front[0] & front[1] & front[2]
  crossing = any_front & ~all_front  # it crosses the plane of the eye, and may be anywhere in the picture
  low, high = [], []
  for end, places in zip(size, (corners.y, corners.x), strict=True):
    a, b, c = (place / w for place, w in zip(places, safe, strict=True))
    low.append(jnp.where(crossing, 0.0, jnp.minimum(jnp.minimum(a, b), c) - margin))
    high.append(jnp.where(crossing, float(end), jnp.maximum(jnp.maximum(a, b), c) + margin))
  determinant = _determinant(corners)
  scale = jnp.where(crossing, 1.0, safe[0] * safe[1] * safe[2]) * (min(size) / 2) ** 2
  drawn = any_front & (jnp.abs(determinant) > SLIVER * scale)
  nearer, farther = ([test(z) for z in corners.depth] for test in (camera.near.__le__, camera.far.__ge__))
  drawn &= (nearer[0] | nearer[1] | nearer[2]) & (farther[0] | farther[1] | farther[2])
  for x in jax.tree.leaves(corners):
    drawn &= jnp.isfinite(x)
  if cull != "none":
    drawn &= (determinant < 0) == (cull == "back")
  return make_boxes(low, high, drawn, size)


def _determinant(corners: Corners) -> jax.Array:
  """det [[X], [Y], [w]] of each face: negative for a front face (counter-clockwise, rows counted down)."""
  w = corners.w[0]
  fine = jnp.abs(w) > 1e-6
  y, x = (jnp.where(fine, place[0] / jnp.where(fine, w, 1.0), 0.0) for place in (corners.y, corners.x))
  return face_inverse(corners, (y, x))[1]


def face_inverse(
  corners: Corners, origin: tuple[jax.Array, jax.Array]
) -> tuple[list[tuple[jax.Array, jax.Array, jax.Array]], jax.Array]:
  """Inverts the matrix of each face that takes barycentric to homogeneous pixel coordinates.

  With M = [[X_0, X_1, X_2], [Y_0, Y_1, Y_2], [w_0, w_1, w_2]] and lambda = M^-1 (x, y, 1), the pixel (x, y)
  is in the face iff all lambda >= 0 and sum(lambda) = 1 / w > 0; lambda / sum(lambda) are the
  perspective-correct barycentric coordinates (Olano and Greer, "Triangle scan conversion using 2D
  homogeneous coordinates", 1997). This holds for faces that reach behind the camera, too. Coordinates count
  from `origin`, near the face: small triangles would else be differences of large numbers.

  Args:
    corners: of any shape [...].
    origin: (y, x) in pixels, each [...].

  Returns:
    The rows of M^-1, three of (by x, by y, by 1), each [...]; det M [...]; 0 where M is singular.
  """
  w = corners.w
  x = [place - origin[1] * w[k] for k, place in enumerate(corners.x)]
  y = [place - origin[0] * w[k] for k, place in enumerate(corners.y)]
  turns = ((1, 2), (2, 0), (0, 1))
  by_x = [y[i] * w[j] - y[j] * w[i] for i, j in turns]
  by_y = [x[j] * w[i] - x[i] * w[j] for i, j in turns]
  by_1 = [x[i] * y[j] - x[j] * y[i] for i, j in turns]
  determinant = x[0] * by_x[0] + x[1] * by_x[1] + x[2] * by_x[2]
  fine = determinant != 0
  scale = jnp.where(fine, 1.0 / jnp.where(fine, determinant, 1.0), 0.0)
  return [(by_x[k] * scale, by_y[k] * scale, by_1[k] * scale) for k in range(3)], determinant


def _nearest(boxes, corners, camera, size, behind):
  """(depth, face) [pixels] of the nearest face beyond (depth, face) `behind`; ties by the face's number."""
  n_pixels = size[0] * size[1]

  def body(carry, chunk):
    nearest, face = carry
    own = jax.tree.map(lambda x: x[chunk.face], corners)
    first = boxes.first[0][chunk.face], boxes.first[1][chunk.face]
    inverse, _ = face_inverse(own, (first[0] + 0.5, first[1] + 0.5))
    m = [[part[:, None, None] for part in row] for row in inverse]
    dy = (chunk.row - first[0][:, None, None]).astype(own.x[0].dtype)
    dx = (chunk.column - first[1][:, None, None]).astype(own.x[0].dtype)
    each = [m[k][0] * dx + (m[k][1] * dy + m[k][2]) for k in range(3)]
    total = each[0] + each[1] + each[2]
    depth = sum(part * z[:, None, None] for part, z in zip(each, own.depth, strict=True))
    depth = depth / jnp.where(total > 0, total, 1.0)
    inside = chunk.valid & (each[0] >= 0) & (each[1] >= 0) & (each[2] >= 0) & (total > 0)
    inside &= (depth >= camera.near) & (depth <= camera.far)
    pixel, number = pixel_of(chunk, size), chunk.face[:, None, None]
    last = [x.at[pixel].get(mode="clip") for x in behind]
    inside &= (depth > last[0]) | ((depth == last[0]) & (number > last[1]))
    depth = jnp.where(inside, depth, jnp.inf)
    new = nearest.at[pixel].min(depth, mode="drop")
    hit = inside & (depth == new.at[pixel].get(mode="clip"))
    kept = jnp.where(new < nearest, _NO_FACE, face)
    return new, kept.at[jnp.where(hit, pixel, n_pixels)].min(jnp.broadcast_to(number, hit.shape), mode="drop")

  kind = corners.x[0].dtype
  return fold_pairs(boxes, body, (jnp.full(n_pixels, jnp.inf, kind), jnp.full(n_pixels, _NO_FACE)))


@jax.jit
def fragments(mesh: Mesh, camera: Camera, visible: jax.Array) -> Fragments:
  """Computes where the pixels hit the faces that they see; differentiable in vertices and camera.

  Args:
    mesh: the one that `visible` was computed with, or one that hides and shows the same faces.
    camera: as well.
    visible: int32 [H, W, K], of `visibility`.
  """
  height, width, layers = visible.shape
  if mesh.faces.shape[0] == 0:
    return Fragments(visible, jnp.zeros((*visible.shape, 3)), jnp.zeros(visible.shape))
  find = each_view(functools.partial(_places, (height, width), layers))
  barycentric, depth = find(jnp.asarray(mesh.vertices), jnp.asarray(mesh.faces), camera, visible.reshape(-1))
  return Fragments(visible, barycentric.reshape(*visible.shape, 3), depth.reshape(visible.shape))


def _places(size, layers, vertices, faces, camera, visible):
  points = to_screen(camera, vertices, size)
  return where_seen(functools.partial(_hit, size[1], layers), points, faces, None, visible)


def _hit(width, layers, points, faces, at, face, pixel):
  """(barycentric [N, 3], depth [N]) of pixels at the faces they see; for `where_seen`."""
  del at
  place = pixel // layers
  row, column = (place // width + 0.5).astype(points.dtype), (place % width + 0.5).astype(points.dtype)
  corners = face_corners(points, faces[face])
  x = [corners.x[k] - column * corners.w[k] for k in range(3)]  # from the pixel itself
  y = [corners.y[k] - row * corners.w[k] for k in range(3)]
  # The last column of `face_inverse`, but for the determinant, which cancels.
  cross = [x[k - 2] * y[k - 1] - x[k - 1] * y[k - 2] for k in range(3)]
  total = cross[0] + cross[1] + cross[2]
  there = total != 0
  scale = jnp.where(there, 1.0 / jnp.where(there, total, 1.0), 0.0)
  barycentric = [part * scale for part in cross]
  depth = sum(part * z for part, z in zip(barycentric, corners.depth, strict=True))
  return jnp.stack(barycentric, axis=-1), depth


def interpolated(attributes: Mapping[str, jax.Array], found: Fragments) -> dict[str, jax.Array]:
  """Interpolates corner attributes [F, 3, n] at what the pixels see: name -> [H, W, K, n]."""
  face, weights = found.face.reshape(-1), found.barycentric.reshape(-1, 3)
  values = each_view(functools.partial(where_seen, _mixed))(dict(attributes), None, weights, face)
  return {name: x.reshape(*found.face.shape, -1) for name, x in values.items()}


def _mixed(attributes, tables, weights, face, pixel):
  del tables, pixel
  return mix_corners(attributes, weights, face)


def mix_corners(attributes: Mapping[str, Any], weights: jax.Array, face: jax.Array) -> dict[str, jax.Array]:
  """Sums the attributes [F, 3, n] of the corners of faces [N] with weights [N, 3]: name -> [N, n]."""
  values = {}
  for name, x in attributes.items():
    columns = [[x[:, k, i] for k in range(3)] for i in range(x.shape[-1])]
    # One gather per number, each done once: a gather of rows is slower, and XLA would repeat it per use.
    seen = jax.lax.optimization_barrier(jax.tree.map(lambda column: column[face], columns))
    each = [sum(weights[:, k] * parts[k] for k in range(3)) for parts in seen]
    values[name] = jnp.stack(each, axis=-1)
  return values
