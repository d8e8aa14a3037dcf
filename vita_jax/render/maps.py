"""Whole pictures of a mesh in one call: colour, depth and normals, and averaging of finer pictures."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.render.camera import Camera
from vita_jax.render.mesh import Mesh, face_normals, normalize, vertex_normals
from vita_jax.render.raster import interpolated, rasterize
from vita_jax.render.shading import Image, Lights, shade


def render(
  mesh: Mesh,
  camera: Camera,
  size: tuple[int, int],
  *,
  lights: Lights | None = None,
  shading: str = "phong",
  filter: str = "bilinear",
  background: Any = 0.0,
  antialias: int = 1,
  cull: str = "none",
) -> Image:
  """Renders a mesh with hard edges (`rasterize`, then `shade`).

  Args:
    mesh: see `rasterize`.
    camera: see `rasterize`.
    size: see `rasterize`.
    cull: see `rasterize`.
    lights: see `shade`.
    shading: see `shade`.
    filter: see `shade`.
    background: see `shade`; a picture has the final size.
    antialias: n renders n x n samples per pixel and averages them.

  Returns:
    Image: color [H, W, C], alpha [H, W], which antialiasing makes fractional at edges.
  """
  fine = (size[0] * antialias, size[1] * antialias)
  found = rasterize(mesh, camera, fine, cull=cull)
  image = shade(found, mesh, camera, lights=lights, shading=shading, filter=filter)
  alpha = shrink(image.alpha[..., None], antialias)
  color = shrink(image.color * image.alpha[..., None], antialias)  # premultiplied: edges do not darken
  return Image(color + (1 - alpha) * jnp.asarray(background), alpha[..., 0])


def shrink(image: jax.Array, factor: int) -> jax.Array:
  """Averages blocks of `factor` x `factor` pixels: [n H, n W, C] -> [H, W, C].

  Raises:
    ValueError: sides that the factor does not divide.
  """
  height, width, channels = image.shape
  if factor < 1 or height % factor or width % factor:
    raise ValueError(f"cannot average {height} x {width} pixels in blocks of {factor} x {factor}")
  if factor == 1:
    return image
  return image.reshape(height // factor, factor, width // factor, factor, channels).mean(axis=(1, 3))


def depth_map(mesh: Mesh, camera: Camera, size: tuple[int, int], *, empty: float = 0.0) -> jax.Array:
  """Renders the view depth of the nearest face, float32 [H, W]; `empty` where there is none."""
  found = rasterize(mesh, camera, size)
  return jnp.where(found.face[..., 0] >= 0, found.depth[..., 0], empty)


def normal_map(
  mesh: Mesh, camera: Camera, size: tuple[int, int], *, smooth: bool = True, space: str = "view"
) -> jax.Array:
  """Renders unit normals of the nearest face, float32 [H, W, 3]; zero where there is none.

  Args:
    mesh: see `rasterize`.
    camera: see `rasterize`.
    size: see `rasterize`.
    smooth: interpolates vertex normals; else those of the faces.
    space: "view" (right, up, forward: a surface that faces the camera has -1 last) | "world".

  Raises:
    ValueError: an unknown space.
  """
  if space not in ("view", "world"):
    raise ValueError(f"unknown space '{space}': choose view or world")
  found = rasterize(mesh, camera, size)
  if mesh.faces.shape[0] == 0:
    return jnp.zeros((*size, 3))
  if smooth:
    corners = vertex_normals(mesh)[mesh.faces]
  else:
    corners = jnp.broadcast_to(face_normals(mesh)[:, None], (mesh.faces.shape[0], 3, 3))
  normals = normalize(interpolated({"normal": corners}, found)["normal"][:, :, 0])
  return normals @ camera.rotation.T if space == "view" else normals
