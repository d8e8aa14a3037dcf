"""Soft rendering: pictures that are differentiable across silhouettes.

Every face counts at every pixel near it, by the formulas of the Soft Rasterizer (Liu et al., ICCV 2019,
arXiv 1904.01786). The sums over faces are exact, not over a few nearest ones, in memory that does not grow
with their number (see `pairs.py`).
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.render.camera import Camera, to_screen
from vita_jax.render.mesh import Mesh
from vita_jax.render.pairs import pair_max, pair_sum
from vita_jax.render.raster import Corners, face_boxes
from vita_jax.render.shading import Image, Lights, color_at, corner_attributes, eye_of
from vita_jax.render.views import each_view, view_by_view

CUT = 1e-4  # a face whose probability at a pixel outside of it is less does not count there


@functools.partial(jax.jit, static_argnames="size")
def silhouette(
  mesh: Mesh, camera: Camera, size: tuple[int, int], *, sigma: float | jax.Array = 1e-5
) -> jax.Array:
  """Renders the soft silhouette alpha = 1 - prod_j (1 - A_j), float32 [H, W].

  A_j = sigmoid(delta d^2 / sigma), d the distance of the pixel from the boundary of face j in normalised
  units, delta 1 inside and -1 outside. Differentiable in vertices, camera and sigma.

  Args:
    mesh: vertices and faces are read.
    camera: see `camera.py`. Faces that reach behind `near` are left out.
    size: (height, width).
    sigma: sharpness; edges are soft over about 2 sqrt(sigma) S / 2 pixels of a picture of side S.
  """
  total = each_view(functools.partial(_outside, size))
  vertices, faces = jnp.asarray(mesh.vertices), jnp.asarray(mesh.faces)
  return 1.0 - jnp.exp(total(vertices, faces, camera, jnp.asarray(sigma, float))).reshape(size)


def _outside(size, vertices, faces, camera, sigma):
  """sum_j log(1 - A_j) [height x width]."""
  boxes, rows, shared = _setup(to_screen(camera, vertices, size)[faces], camera, size, sigma)
  return pair_sum(_log_outside, 1, size, rows, shared, None, boxes)[:, 0]


@functools.partial(jax.jit, static_argnames=("size", "shading", "filter", "cull"))
def soft_render(
  mesh: Mesh,
  camera: Camera,
  size: tuple[int, int],
  *,
  sigma: float | jax.Array = 1e-5,
  gamma: float | jax.Array = 1e-4,
  epsilon: float = 1e-3,
  lights: Lights | None = None,
  shading: str = "gouraud",
  filter: str = "bilinear",
  background: Any = 0.0,
  cull: str = "back",
  softras_compat: bool | jax.Array = False,
) -> Image:
  """Renders colours as a softmax over depth of all faces near each pixel, and the soft silhouette.

  The colour is sum_j w_j C_j + w_b C_b with w_j proportional to A_j exp(zbar_j / gamma), w_b to
  exp(epsilon / gamma), zbar = (far - z) / (far - near) and A_j as in `silhouette`. Differentiable in
  vertices, colours, texture, lights, camera, sigma, gamma and background.

  Args:
    mesh: see `silhouette`.
    camera: see `silhouette`; its near and far set the scale of zbar.
    size: see `silhouette`.
    sigma: see `silhouette`.
    gamma: sharpness in depth; 0 would be the nearest face alone.
    epsilon: weight of the background.
    lights: see `shade.shade`.
    shading: see `shade.shade`.
    filter: see `shade.shade`.
    background: see `shade.shade`.
    cull: faces that give no colour: "back" | "none" | "front"; all faces count in the silhouette.
    softras_compat: weighs the background by exp(2 epsilon / gamma), as the released CUDA code does.

  Returns:
    Image: color [H, W, C], alpha [H, W].
  """
  surface = jax.tree.map(jnp.asarray, mesh._replace(joints=None, parents=None, weights=None))
  light = None if lights is None else Lights(*(jnp.asarray(x, float) for x in lights))
  sigma, gamma, background_weight = (jnp.asarray(x, float) for x in (sigma, gamma, epsilon))
  geometry = surface.vertices, surface.faces, camera, sigma
  # The blend does not depend on what is subtracted from its exponents: no gradient.
  nearest = view_by_view(functools.partial(_nearest, size, cull))
  deepest = nearest(*jax.lax.stop_gradient((*geometry, background_weight)))
  sums = each_view(functools.partial(_sums, size, cull, shading, filter))(
    surface, camera, light, sigma, gamma, deepest
  )
  channels = sums.shape[-1]
  power = jnp.where(softras_compat, 2.0, 1.0) * epsilon
  behind = jnp.exp((power - deepest) / gamma)[:, None]
  backdrop = jnp.broadcast_to(jnp.asarray(background, float), (*size, channels - 2))
  color = (sums[:, 2:] + behind * backdrop.reshape(-1, channels - 2)) / (sums[:, 1:2] + behind)
  return Image(color.reshape(*size, -1), 1.0 - jnp.exp(sums[:, 0]).reshape(size))


def _faces(size, cull, vertices, faces, camera, sigma):
  """What `_surface` reads: boxes, rows, shared."""
  corners = to_screen(camera, vertices, size)[faces]
  boxes, rows, shared = _setup(corners, camera, size, sigma)
  area = _doubled_area(rows["x"], rows["y"])
  facing = {"none": area != 0, "back": area < 0, "front": area > 0}[cull]  # rows are counted down
  rows |= {"depth": corners[..., 3], "w": corners[..., 2], "facing": facing.astype(corners.dtype)}
  return boxes, rows, shared | {"near": camera.near, "far": camera.far}


def _nearest(size, cull, vertices, faces, camera, sigma, epsilon):
  """The largest zbar of each pixel [height x width], at least epsilon."""
  boxes, rows, shared = _faces(size, cull, vertices, faces, camera, sigma)
  return pair_max(_closeness, size, rows, shared, boxes, epsilon)


def _sums(size, cull, shading, filter, mesh, camera, lights, sigma, gamma, deepest):
  """Sums over faces of (log(1 - A), weight, weight x colour) [height x width, 2 + C]."""
  boxes, rows, shared = _faces(size, cull, mesh.vertices, mesh.faces, camera, sigma)
  attributes = corner_attributes(mesh, lights, shading=shading)
  texture = mesh.texture if "uv" in attributes else None
  channels = (attributes["color"] if texture is None else texture).shape[-1] + 2
  rows |= {"attributes": attributes}
  shared |= {"gamma": gamma, "texture": texture, "lights": lights, "eye": eye_of(camera)}
  blend = _blend_nearest if filter == "nearest" else _blend
  pixels = {"closest": jax.lax.stop_gradient(deepest)}
  return pair_sum(blend, channels, size, rows, shared, pixels, boxes)


def _setup(corners, camera, size, sigma):
  """Boxes, and the rows and scalars that every soft pair function reads."""
  unit = min(size) / 2  # pixels of one normalised unit
  sigma = jnp.asarray(sigma, float) * unit**2
  cut = sigma * math.log(1 / CUT - 1)  # squared pixels
  w = corners[..., 2]
  fine = jnp.all(w > 1e-6, axis=1) & jnp.all(corners[..., 3] >= camera.near, axis=1)
  corners = jnp.where(fine[:, None, None], corners, jnp.array([0.0, 0.0, 1.0, 0.0]))  # degenerate: not drawn
  places = jax.lax.stop_gradient(corners)
  columns = Corners(*(tuple(places[:, k, i] for k in range(3)) for i in range(4)))
  boxes = face_boxes(columns, _keep_all(camera), size, margin=jax.lax.stop_gradient(jnp.sqrt(cut)))
  safe = jnp.where(w > 1e-6, w, 1.0)
  rows = {"x": corners[..., 0] / safe, "y": corners[..., 1] / safe}
  return boxes, rows, {"sigma": sigma, "cut": cut}


def _keep_all(camera: Camera) -> Camera:
  """Faces beyond near and far count in the silhouette."""
  return camera._replace(near=-jnp.inf * jnp.ones_like(camera.near), far=jnp.inf * jnp.ones_like(camera.far))


def _doubled_area(x: jax.Array, y: jax.Array) -> jax.Array:
  return (x[..., 1] - x[..., 0]) * (y[..., 2] - y[..., 0]) - (y[..., 1] - y[..., 0]) * (x[..., 2] - x[..., 0])


def _geometry(rows, shared, row, column):
  """(logit of A [K, n, n], whether the face counts there, the pixel's screen barycentric coordinates).

  All in pixels relative to the pixel, so that nothing large is subtracted.
  """
  x = [rows["x"][:, k, None, None] - (column + 0.5) for k in range(3)]
  y = [rows["y"][:, k, None, None] - (row + 0.5) for k in range(3)]
  cross = [x[k] * y[(k + 1) % 3] - y[k] * x[(k + 1) % 3] for k in range(3)]
  area = cross[0] + cross[1] + cross[2]
  inside = (cross[0] * area > 0) & (cross[1] * area > 0) & (cross[2] * area > 0)
  square: Any = None
  for k in range(3):
    dx, dy = x[(k + 1) % 3] - x[k], y[(k + 1) % 3] - y[k]
    length = dx * dx + dy * dy
    fine = length > 0
    t = jnp.clip(-(x[k] * dx + y[k] * dy) / jnp.where(fine, length, 1.0), 0.0, 1.0)
    # At its end exactly the corner: two edges that meet there then tie, however the compiler rounds each
    # (it may compute a distance twice; near ties that fall out unlike would lose or double a gradient).
    end = t >= 1
    nearest_x = jnp.where(end, x[(k + 1) % 3], x[k] + t * dx)
    nearest_y = jnp.where(end, y[(k + 1) % 3], y[k] + t * dy)
    each = nearest_x**2 + nearest_y**2
    square = each if square is None else jnp.minimum(square, each)
  logit = jnp.where(inside, square, -square) / shared["sigma"]
  fine = area != 0
  scale = 1.0 / jnp.where(fine, area, 1.0)
  barycentric = [cross[1] * scale, cross[2] * scale, cross[0] * scale]
  return logit, fine & (inside | (square < shared["cut"])), barycentric


def _log_outside(rows: Any, shared: Any, at: Any, row: jax.Array, column: jax.Array) -> tuple[jax.Array, ...]:
  """log(1 - A): its sum is exact where a product of many factors near 0 or 1 would not be."""
  logit, counts, _ = _geometry(rows, shared, row, column)
  return (jnp.where(counts, -jax.nn.softplus(logit), 0.0),)


def _surface(rows, shared, row, column):
  """(logit, counts in the silhouette, gives colour, zbar, perspective-correct clipped barycentrics)."""
  logit, counts, barycentric = _geometry(rows, shared, row, column)
  clipped = [jnp.clip(b, 0.0, 1.0) for b in barycentric]
  total = jnp.maximum(clipped[0] + clipped[1] + clipped[2], 1e-5)
  over_w = [c / total / rows["w"][:, k, None, None] for k, c in enumerate(clipped)]
  scale = 1.0 / jnp.maximum(over_w[0] + over_w[1] + over_w[2], 1e-12)
  weights = [part * scale for part in over_w]
  depth = sum(part * rows["depth"][:, k, None, None] for k, part in enumerate(weights))
  colored = counts & (rows["facing"][:, None, None] > 0)
  colored &= (depth >= shared["near"]) & (depth <= shared["far"])
  return logit, counts, colored, (shared["far"] - depth) / (shared["far"] - shared["near"]), weights


def _closeness(rows: Any, shared: Any, at: Any, row: jax.Array, column: jax.Array) -> jax.Array:
  _, _, colored, closeness, _ = _surface(rows, shared, row, column)
  return jnp.where(colored, closeness, -jnp.inf)


def _blend(
  rows: Any, shared: Any, at: Any, row: jax.Array, column: jax.Array, filter: str = "bilinear"
) -> tuple[jax.Array, ...]:
  logit, counts, colored, closeness, weights = _surface(rows, shared, row, column)
  values = {
    name: sum(part[..., None] * x[:, k, None, None] for k, part in enumerate(weights))
    for name, x in rows["attributes"].items()
  }
  color = color_at(values, shared["texture"], shared["lights"], shared["eye"], filter=filter)
  exponent = jnp.where(colored, (closeness - at["closest"]) / shared["gamma"], 0.0)
  weight = jnp.where(colored, jax.nn.sigmoid(logit) * jnp.exp(exponent), 0.0)
  outside = jnp.where(counts, -jax.nn.softplus(logit), 0.0)
  return outside, weight, *(weight * color[..., c] for c in range(color.shape[-1]))


def _blend_nearest(rows, shared, at, row, column):
  return _blend(rows, shared, at, row, column, filter="nearest")
