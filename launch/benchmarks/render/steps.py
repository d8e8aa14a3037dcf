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

  def brightness(texture, vertices, found):
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
  if kind == "16 silhouettes":
    views = jax.tree.map(lambda *x: jnp.stack(x), *(_turned(camera, 22.5 * i) for i in range(16)))
    each = jax.vmap(jax.value_and_grad(outline), (None, 0))
    return jax.jit(lambda given: each(*given)), (mesh.vertices, views)
  kept = cached if kind == "texture, cached" else None
  return jax.jit(lambda given: by_texture(*given)), (mesh.texture, mesh.vertices, kept)


def _turned(camera: render.Camera, angle: float) -> render.Camera:
  rotation, translation = render.look_at(render.orbit(DISTANCE, angle))
  return camera._replace(rotation=rotation, translation=translation)


if __name__ == "__main__":
  main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
