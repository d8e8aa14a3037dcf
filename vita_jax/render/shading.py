"""From what a pixel sees to its colour: textures and light, for hard and soft rendering alike."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vita_jax.render.camera import Camera
from vita_jax.render.mesh import Array, Mesh, face_normals, normalize, vertex_normals
from vita_jax.render.raster import Fragments, mix_corners
from vita_jax.render.seen import where_seen
from vita_jax.render.views import each_view

SHADING = ("flat", "gouraud", "phong")
FILTERS = ("bilinear", "nearest")


class Lights(NamedTuple):
  """One ambient and one directional light; colours are float32 [C] or scalars.

  A surface of colour c shows `c (ambient + diffuse max(n . l, 0)) + specular max(r . e, 0)^shininess`, with n
  the normal, l the unit vector towards the light, e that towards the eye and r the mirror image of l
  (Phong 1975).
  """

  ambient: Any = 0.5
  diffuse: Any = 0.5
  direction: Any = (0.0, 1.0, 0.0)
  specular: Any = 0.0
  shininess: Any = 16.0


class Image(NamedTuple):
  """A picture: color float32 [H, W, C] over its background, and alpha [H, W], the share that is covered."""

  color: jax.Array
  alpha: jax.Array


@functools.partial(jax.jit, static_argnames="filter")
def sample(texture: jax.Array, uv: jax.Array, *, filter: str = "bilinear") -> jax.Array:
  """Looks colours up in a texture.

  Args:
    texture: float32 [H, W, C], row 0 on top.
    uv: float32 [..., 2]; (0, 0) is the lower left corner, (1, 1) the upper right one; beyond them the edge
      is repeated.
    filter: "bilinear" between the centres of texels | "nearest".

  Returns:
    float32 [..., C].

  Raises:
    ValueError: an unknown filter.
  """
  height, width, _ = texture.shape
  x, y = uv[..., 0] * width - 0.5, (1.0 - uv[..., 1]) * height - 0.5
  if filter == "nearest":
    return texture[_texel(jnp.round(y), height), _texel(jnp.round(x), width)]
  if filter != "bilinear":
    raise ValueError(f"unknown filter '{filter}': choose one of {', '.join(FILTERS)}")
  left, top = jnp.floor(x), jnp.floor(y)
  across, down = (x - left)[..., None], (y - top)[..., None]
  rows = _texel(top, height), _texel(top + 1, height)
  columns = _texel(left, width), _texel(left + 1, width)
  upper = texture[rows[0], columns[0]] * (1 - across) + texture[rows[0], columns[1]] * across
  lower = texture[rows[1], columns[0]] * (1 - across) + texture[rows[1], columns[1]] * across
  return upper * (1 - down) + lower * down


def _texel(place: jax.Array, count: int) -> jax.Array:
  return jnp.clip(place, 0, count - 1).astype(jnp.int32)


def corner_attributes(mesh: Mesh, lights: Lights | None, *, shading: str) -> dict[str, jax.Array]:
  """Gathers what is interpolated over each face, name -> float32 [F, 3, ...].

  "color" or (for a mesh with texture and uv) "uv"; "light" where it is computed per face (flat) or per vertex
  (gouraud); "normal" and "position" where it is computed per pixel (phong, and any specular light).

  Raises:
    ValueError: an unknown shading.
  """
  if shading not in SHADING:
    raise ValueError(f"unknown shading '{shading}': choose one of {', '.join(SHADING)}")
  faces, vertices = jnp.asarray(mesh.faces), jnp.asarray(mesh.vertices)
  found: dict[str, jax.Array] = {}
  if mesh.texture is not None and mesh.uv is not None:
    found["uv"] = jnp.asarray(mesh.uv)[mesh.face_uv]
  elif mesh.vertex_colors is not None:
    found["color"] = jnp.asarray(mesh.vertex_colors)[faces]
  elif mesh.face_colors is not None:
    colors = jnp.asarray(mesh.face_colors)
    found["color"] = jnp.broadcast_to(colors[:, None], (colors.shape[0], 3, colors.shape[1]))
  else:
    found["color"] = jnp.ones((faces.shape[0], 3, 3))
  if lights is None:
    return found
  if shading == "flat":
    normals = jnp.broadcast_to(face_normals(mesh)[:, None], (faces.shape[0], 3, 3))
  else:
    normals = vertex_normals(mesh)[faces]
  if shading == "phong":
    return found | {"normal": normals, "position": vertices[faces]}
  return found | {"light": _diffuse(normals, lights)}


def _diffuse(normals: jax.Array, lights: Lights) -> jax.Array:
  """ambient + diffuse max(n . l, 0), float32 [..., C]."""
  towards = normalize(jnp.asarray(lights.direction, float))
  facing = jnp.maximum(jnp.sum(normals * towards, axis=-1, keepdims=True), 0.0)
  return jnp.asarray(lights.ambient) + jnp.asarray(lights.diffuse) * facing


def color_at(
  values: Mapping[str, jax.Array],
  texture: Array | None,
  lights: Lights | None,
  eye: jax.Array,
  *,
  filter: str = "bilinear",
) -> jax.Array:
  """Computes colours [..., C] from interpolated attributes [..., n] (see `corner_attributes`).

  Args:
    values: name -> interpolated values.
    texture: read where values has "uv".
    lights: None shows the colour as it is.
    eye: float32 [4], the camera's place (x, y, z, 1), or the direction towards it (x, y, z, 0).
    filter: see `sample`.
  """
  if texture is not None and "uv" in values:
    color = sample(texture, values["uv"], filter=filter)
  else:
    color = values["color"]
  if lights is None:
    return color
  if "light" in values:
    return color * values["light"]
  normal = normalize(values["normal"])
  lit = color * _diffuse(normal, lights)
  towards = normalize(jnp.asarray(lights.direction, float))
  mirrored = 2 * jnp.sum(normal * towards, axis=-1, keepdims=True) * normal - towards
  seen = normalize(eye[:3] - eye[3] * values["position"])
  glance = jnp.maximum(jnp.sum(mirrored * seen, axis=-1, keepdims=True), 0.0)
  fine = glance > 0  # 0 ** shininess has no finite gradient in shininess
  power = jnp.where(fine, jnp.where(fine, glance, 1.0) ** lights.shininess, 0.0)
  return lit + jnp.asarray(lights.specular) * power


def eye_of(camera: Camera) -> jax.Array:
  """Returns the camera's place as (x, y, z, 1), or for an orthographic one the direction to it, 0 last."""
  place = -camera.rotation.T @ camera.translation
  towards = -camera.rotation[2]
  p = camera.perspective
  return jnp.concatenate([p * place + (1 - p) * towards, p[None]])


@functools.partial(jax.jit, static_argnames=("shading", "filter"))
def shade(
  found: Fragments,
  mesh: Mesh,
  camera: Camera,
  *,
  lights: Lights | None = None,
  shading: str = "phong",
  filter: str = "bilinear",
  background: Any = 0.0,
) -> Image:
  """Colours the nearest face of each pixel.

  Args:
    found: of `rasterize`; may be kept while texture, colours and lights change.
    mesh: its texture and uv, else its vertex_colors, else its face_colors, else white.
    camera: the one of `found`.
    lights: None shows colours as they are.
    shading: "flat": light per face | "gouraud": per vertex | "phong": per pixel, by interpolated normals.
    filter: of the texture, "bilinear" | "nearest".
    background: colour [C], or picture [H, W, C].
  """
  face, weights = found.face[:, :, 0], found.barycentric[:, :, 0]
  if mesh.faces.shape[0] == 0:
    color = jnp.zeros((*face.shape, 3))
  else:
    look = each_view(functools.partial(_colors, shading, filter))
    light = None if lights is None else Lights(*(jnp.asarray(x, float) for x in lights))
    surface = jax.tree.map(jnp.asarray, mesh._replace(joints=None, parents=None, weights=None))
    color = look(surface, camera, light, weights.reshape(-1, 3), face.reshape(-1)).reshape(*face.shape, -1)
  alpha = (face >= 0).astype(jnp.float32)
  return Image(jnp.where(alpha[..., None] > 0, color, jnp.asarray(background)), alpha)


def _colors(shading, filter, mesh, camera, lights, weights, face):
  """Colours [P, C] of pixels with barycentric coordinates [P, 3] of faces [P]."""
  attributes = corner_attributes(mesh, lights, shading=shading)
  shared = {"attributes": attributes, "texture": mesh.texture, "lights": lights, "eye": eye_of(camera)}
  return where_seen(functools.partial(_paint, filter), shared, None, weights, face)


def _paint(filter, shared, tables, weights, face, pixel):
  """Colours [N, C] of pixels; for `where_seen`."""
  del tables, pixel
  values = mix_corners(shared["attributes"], weights, face)
  return color_at(values, shared["texture"], shared["lights"], shared["eye"], filter=filter)
