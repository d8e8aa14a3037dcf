"""The renderer on a GPU or TPU, for `make gpu`: visibility, shading and silhouettes of a knot; one form."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.one_step import Form, Step
from benchmarks.render.shape import scene
from vita_jax import render
from vita_jax.render.raster import face_corners, face_inverse


def steps(*, small: bool) -> list[Step]:
  """Returns the steps; `small`: fewer faces and pixels, for a CPU."""
  faces, side, half = (1_000, 64, 32) if small else (27_000, 512, 256)
  size = f"{faces:,} faces, {side} x {side}"
  return [
    Step(f"render, visibility, {size}", functools.partial(_visibility, faces, side)),
    Step(f"render, shading and texture gradient, {size}", functools.partial(_texture, faces, side)),
    Step(
      f"render, silhouette and vertex gradient, {half} x {half}", functools.partial(_outline, faces, half)
    ),
  ]


def forms() -> list[Form]:
  """Returns depth by scatter-min beside the least depth over all faces at each pixel."""
  rng = np.random.default_rng(0)
  vertices = rng.uniform(-0.9, 0.9, (40, 1, 3)) + rng.uniform(-0.4, 0.4, (40, 3, 3))
  corners = jnp.asarray(vertices.reshape(-1, 3), jnp.float32)
  return [Form("depth by scatter-min", _depth, _depth_of_all, (corners,), 1e-4)]


def _visibility(faces: int, side: int) -> tuple:
  mesh, camera = scene(str(faces))

  def step(seen: jax.Array, vertices: jax.Array, t: jax.Array) -> tuple[Any, dict]:
    del seen, t
    return render.visibility(mesh._replace(vertices=vertices), camera, (side, side)), {}

  return step, jnp.zeros((side, side, 1), jnp.int32), mesh.vertices


def _texture(faces: int, side: int) -> tuple:
  mesh, camera = scene(str(faces))
  found = render.rasterize(mesh, camera, (side, side))

  def loss(texture: jax.Array, mesh: render.Mesh, found: render.Fragments) -> jax.Array:
    color = render.shade(found, mesh._replace(texture=texture), camera, lights=render.Lights()).color
    return jnp.mean(color**2)

  def step(texture: jax.Array, batch: Any, t: jax.Array) -> tuple[Any, dict]:
    return texture - jax.grad(loss)(texture, *batch), {}

  return step, mesh.texture, (mesh, found)


def _outline(faces: int, side: int) -> tuple:
  mesh, camera = scene(str(faces))

  def loss(vertices: jax.Array) -> jax.Array:
    return jnp.mean(render.silhouette(mesh._replace(vertices=vertices), camera, (side, side)) ** 2)

  def step(vertices: jax.Array, batch: Any, t: jax.Array) -> tuple[Any, dict]:
    return vertices - 1e-3 * jax.grad(loss)(vertices), {}

  return step, mesh.vertices, {}


CAMERA, SIZE = ((0.0, 0.0, 3.0), 40.0), (24, 24)


def _mesh(corners: jax.Array) -> render.Mesh:
  return render.Mesh(corners, jnp.arange(len(corners)).reshape(-1, 3))


def _depth(corners: jax.Array) -> jax.Array:
  return render.depth_map(_mesh(corners), render.perspective_camera(CAMERA[0], fov=CAMERA[1]), SIZE)


def _depth_of_all(corners: jax.Array) -> jax.Array:
  """Depth [H, W] of the nearest of all faces, each evaluated at all pixels; all are in front."""
  camera = render.perspective_camera(CAMERA[0], fov=CAMERA[1])
  faces = jnp.arange(len(corners)).reshape(-1, 3)
  places = face_corners(render.to_screen(camera, corners, SIZE), faces)
  origin = jnp.zeros(len(faces))
  inverse, _ = face_inverse(places, (origin, origin))
  row, column = jnp.mgrid[: SIZE[0], : SIZE[1]] + 0.5
  pixels = jnp.stack([column, row, jnp.ones(SIZE)])
  each = [jnp.einsum("cf,chw->fhw", jnp.stack(by), pixels) for by in inverse]
  total = each[0] + each[1] + each[2]
  inside = (each[0] >= 0) & (each[1] >= 0) & (each[2] >= 0) & (total > 0)
  depth = sum(part * z[:, None, None] for part, z in zip(each, places.depth, strict=True))
  depth = depth / jnp.where(inside, total, 1.0)
  nearest = jnp.min(jnp.where(inside, depth, jnp.inf), axis=0)
  return jnp.where(jnp.any(inside, axis=0), nearest, 0.0)
