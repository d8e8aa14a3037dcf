"""Worker: one kind of picture or gradient. Arguments: KIND SHAPE SIDE, see compare.py and shape.py."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.measure import serve
from benchmarks.render.shape import DISTANCE, scene
from vita_jax import render


def main(kind: str, shape: str, side: int) -> None:
  mesh, camera = scene(shape)
  step, argument = _step(kind, mesh, camera, (side, side))

  def run(n: int) -> None:
    for _ in range(n):
      jax.block_until_ready(step(argument))

  run(1)
  serve(run, faces=len(mesh.faces))


def _step(
  kind: str, mesh: render.Mesh, camera: render.Camera, size: tuple[int, int]
) -> tuple[Callable[[Any], Any], Any]:
  """(a compiled function, its argument); vertices are arguments, so that nothing is computed beforehand."""
  cached = render.rasterize(mesh, camera, size)

  def visible(vertices):
    return render.visibility(mesh._replace(vertices=vertices), camera, size)

  def outline(vertices, camera=camera):
    return jnp.sum(render.silhouette(mesh._replace(vertices=vertices), camera, size) ** 2)

  def brightness(texture, vertices, found, camera=camera):
    body = mesh._replace(texture=texture, vertices=vertices)
    found = render.rasterize(body, camera, size) if found is None else found
    return jnp.sum(render.shade(found, body, camera, lights=render.Lights(), shading="flat").color ** 2)

  def picture(vertices):
    body = mesh._replace(vertices=vertices)
    found = render.rasterize(body, camera, size)
    return render.shade(found, body, camera, lights=render.Lights(), shading="flat").color

  by_texture = jax.value_and_grad(brightness)
  if kind == "picture":
    return jax.jit(picture), mesh.vertices
  if kind == "visibility":
    return jax.jit(visible), mesh.vertices
  if kind == "silhouette":
    return jax.jit(jax.value_and_grad(outline)), mesh.vertices
  if kind.startswith("16 silhouettes"):
    return _views(jax.value_and_grad(outline), (mesh.vertices,), camera, kind.rpartition(", ")[2])
  if kind.startswith("16 textures"):
    given = mesh.texture, mesh.vertices, None
    return _views(by_texture, given, camera, kind.rpartition(", ")[2])
  kept = cached if kind == "texture, cached" else None
  return jax.jit(lambda given: by_texture(*given)), (mesh.texture, mesh.vertices, kept)


def _views(
  step: Callable[..., Any], given: tuple[Any, ...], camera: render.Camera, how: str
) -> tuple[Callable[[Any], Any], Any]:
  """As `_step`, for 16 views around the mesh, the last argument: a call for each ("alone") or `jax.vmap`."""
  views = [_turned(camera, 22.5 * i) for i in range(16)]
  if how == "alone":
    one = jax.jit(step)
    return lambda given: [one(*given, view) for view in views], given
  step = render.view_by_view(step) if how == "whole" else step
  each = jax.jit(jax.vmap(step, (*[None] * len(given), 0)))
  return lambda given: each(*given), (*given, jax.tree.map(lambda *x: jnp.stack(x), *views))


def _turned(camera: render.Camera, angle: float) -> render.Camera:
  rotation, translation = render.look_at(render.orbit(DISTANCE, angle))
  return camera._replace(rotation=rotation, translation=translation)


if __name__ == "__main__":
  main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
