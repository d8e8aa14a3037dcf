"""What each body looks like from each angle, rasterized once: training then only looks texels up.

The texture is all that training changes, and it enters a picture linearly. A view therefore keeps the picture
of everything but the logo, and for each pixel that shows some of the logo the places in the texture that its
samples see, with their weights. There is one z-buffer: an arm in front of the logo hides it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import render
from vita_jax.papers.adv_logo.bodies import Body
from vita_jax.papers.adv_logo.charts import Chart
from vita_jax.render.mesh import Array

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels
DISTANCE, MARGIN = 2.0, 1.02  # of the eye, in half body heights; of the picture's height to the body's


class Views(NamedTuple):
  """V views of side S; P pixels at most show some of the logo, each with n x n samples.

  Attributes:
    color: float32 [V, S, S, 3], everything but the logo, times its share of the pixel.
    alpha: float32 [V, S, S], the share of each pixel that body and logo cover.
    pixel: int32 [V, P], number of the pixel, row by row; padding is pixel 0 with weights 0.
    uv: float32 [V, P, n * n, 2], places in the texture.
    weight: float32 [V, P, n * n], shares of the pixel.
    texture: int32 [V], which texture is worn, where bodies have one each.
    body: int32 [V], number of the body.
    angle: float32 [V], degrees from the logo's own side.
    box: float32 [V, 4], x0, y0, x1, y1 around the body, in pixels.
  """

  color: Array
  alpha: Array
  pixel: Array
  uv: Array
  weight: Array
  texture: Array
  body: Array
  angle: Array
  box: Array


def camera_of(body: Body, azimuth: float) -> render.Camera:
  """Returns the orthographic camera that turns around the body; at 0 degrees it faces the front.

  Not mirrored: what the body wears on its left is on the right of the picture.
  """
  points = np.asarray(body.mesh.vertices)
  low, high = float(points[:, 1].min()), float(points[:, 1].max())
  half = (high - low) / 2
  centre = (float(body.landmarks.neck[0]), low + half, float(body.landmarks.neck[2]))
  eye = render.orbit(DISTANCE * half, azimuth, at=centre)
  return render.orthographic_camera(eye, centre, extent=MARGIN * half, near=1e-3 * half, far=100 * half)


def look(
  body: Body, chart: Chart, mask: np.ndarray, azimuth: float, *, size: int, antialias: int = 2
) -> dict[str, np.ndarray]:
  """Rasterizes one view: the fields color, alpha, pixel, uv, weight and box of `Views`, without padding.

  Beside them "clean", float32 [S, S, 3]: the body without the logo, premultiplied.

  Args:
    body: who wears the logo.
    chart: where.
    mask: float [H, W] of `shape_mask`; between texels its edge is soft.
    azimuth: degrees around the body; 0 is its front, 90 its left.
    size: side of the picture.
    antialias: n; n x n samples per pixel are averaged.
  """
  fine = (size * antialias,) * 2
  camera = camera_of(body, azimuth)
  samples = _samples(
    body.mesh, camera, jnp.asarray(chart.faces), jnp.asarray(chart.uv), jnp.asarray(mask), fine
  )
  color, alpha, uv, weight = (np.asarray(x) for x in samples)
  return _folded(color, alpha, uv, weight, antialias)


@functools.partial(jax.jit, static_argnames="fine")
def _samples(
  mesh: render.Mesh,
  camera: render.Camera,
  worn: jax.Array,
  uv: jax.Array,
  mask: jax.Array,
  fine: tuple[int, int],
) -> tuple[jax.Array, ...]:
  """(colour [h, w, 3], alpha [h, w], uv [h, w, 2], weight of the logo [h, w]) of every sample."""
  found = render.rasterize(mesh, camera, fine)
  image = render.shade(found, mesh, camera)
  place = render.interpolated({"uv": uv}, found)["uv"][:, :, 0]
  face = found.face[:, :, 0]
  inside = (face >= 0) & worn[jnp.maximum(face, 0)] & jnp.all((place >= 0) & (place <= 1), axis=-1)
  weight = jnp.where(inside, render.sample(mask[..., None], place)[..., 0], 0.0)
  return image.color[..., :3], image.alpha, place, weight


def _folded(
  color: np.ndarray, alpha: np.ndarray, uv: np.ndarray, weight: np.ndarray, n: int
) -> dict[str, np.ndarray]:
  """Joins the n x n samples of each pixel."""
  size = color.shape[0] // n

  def blocks(x: np.ndarray) -> np.ndarray:
    return x.reshape(size, n, size, n, -1).swapaxes(1, 2).reshape(size * size, n * n, -1)

  weights = blocks(weight)[..., 0] / n**2
  pixel = np.flatnonzero(weights.any(axis=1)).astype(np.int32)
  covered = blocks(alpha)[..., 0].mean(axis=1).reshape(size, size)
  rest = (blocks(color) * (blocks(alpha) - blocks(weight))).mean(axis=1).reshape(size, size, 3)
  rows, columns = np.nonzero(covered)
  box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else (0, 0, 0, 0)
  return {
    "color": rest.astype(np.float32),
    "alpha": covered.astype(np.float32),
    "pixel": pixel,
    "uv": blocks(uv)[pixel].astype(np.float32),
    "weight": weights[pixel].astype(np.float32),
    "box": np.array(box, np.float32),
    "clean": (blocks(color) * blocks(alpha)).mean(axis=1).reshape(size, size, 3).astype(np.float32),
  }


def logo_box(view: dict[str, np.ndarray]) -> Box:
  """Returns x0, y0, x1, y1 of a rectangle of the logo's area and shape, around its middle, in pixels.

  Raises:
    ValueError: a view that shows none of the logo.
  """
  if not len(view["pixel"]):
    raise ValueError("no pixel shows the logo at 0 degrees: it lies off the body, or inside of it")
  rows, columns = np.divmod(view["pixel"], view["alpha"].shape[1])
  height, width = float(np.ptp(rows)) + 1, float(np.ptp(columns)) + 1
  y, x = rows.min() + height / 2, columns.min() + width / 2
  scale = (float(view["weight"].sum()) / (height * width)) ** 0.5
  height, width = height * scale, width * scale
  return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def with_patch(
  view: dict[str, np.ndarray], box: Box, mask: np.ndarray, *, antialias: int = 2
) -> dict[str, np.ndarray]:
  """Returns the view with a flat patch at a fixed place of the picture instead of a logo on the body.

  Args:
    view: of `look`; what it wears is taken off.
    box: x0, y0, x1, y1 of the patch in pixels.
    mask: float [H, W]; the patch shows where it is 1.
    antialias: n; n x n samples per pixel.
  """
  size, n = view["alpha"].shape[0], antialias
  at = (np.arange(size * n) + 0.5) / n
  y, x = np.meshgrid(at, at, indexing="ij")
  uv = np.stack([(x - box[0]) / (box[2] - box[0]), (box[3] - y) / (box[3] - box[1])], axis=-1)
  inside = ((uv >= 0) & (uv <= 1)).all(axis=-1)
  shown = np.asarray(render.sample(jnp.asarray(mask)[..., None], jnp.asarray(uv)))[..., 0]
  weight = np.where(inside, shown, 0.0)
  patch = _folded(np.zeros((*weight.shape, 3)), np.ones_like(weight), uv, weight, n)
  share = weight.reshape(size, n, size, n).mean(axis=(1, 3))
  return {
    **{name: patch[name] for name in ("pixel", "uv", "weight")},
    "color": (view["clean"] * (1 - share[..., None])).astype(np.float32),
    "alpha": (view["alpha"] + (1 - view["alpha"]) * share).astype(np.float32),
    "covered": view["alpha"],
    "box": view["box"],
    "clean": view["clean"],
  }


def bare(view: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns the view of the body without the logo."""
  none = {name: view[name][:0] for name in ("pixel", "uv", "weight")}
  covered = view.get("covered", view["alpha"])
  return {**none, "color": view["clean"], "alpha": covered, "box": view["box"], "clean": view["clean"]}


def stack_views(
  views: Sequence[dict[str, np.ndarray]],
  *,
  body: Sequence[int],
  angle: Sequence[float],
  texture: Sequence[int] | None = None,
) -> Views:
  """Stacks views, whose pixel lists are padded to the longest."""
  longest = max(1, *(len(view["pixel"]) for view in views))

  def stacked(name: str) -> np.ndarray:
    pads = ((0, longest - len(v[name])) for v in views)
    return np.stack(
      [np.pad(v[name], [p] + [(0, 0)] * (v[name].ndim - 1)) for v, p in zip(views, pads, strict=True)]
    )

  return Views(
    color=np.stack([view["color"] for view in views]),
    alpha=np.stack([view["alpha"] for view in views]),
    pixel=stacked("pixel"),
    uv=stacked("uv"),
    weight=stacked("weight"),
    texture=np.asarray(texture if texture is not None else [0] * len(views), np.int32),
    body=np.asarray(body, np.int32),
    angle=np.asarray(angle, np.float32),
    box=np.stack([view["box"] for view in views]),
  )


def dress(textures: jax.Array, view: Views) -> tuple[jax.Array, jax.Array]:
  """Lets bodies wear textures; linear in the textures.

  Args:
    textures: float32 [T, H, W, 3].
    view: some views, with leading axis [B].

  Returns:
    The pictures [B, S, S, 3], premultiplied by `view.alpha`, and the logo alone on black [B, S, S, 3].
  """

  def one(color: jax.Array, pixel: jax.Array, uv: jax.Array, weight: jax.Array, number: jax.Array) -> Any:
    shown = jnp.sum(render.sample(textures[number], uv) * weight[..., None], axis=1)
    logo = jnp.zeros((color.shape[0] * color.shape[1], 3)).at[pixel].add(shown).reshape(color.shape)
    return color + logo, logo

  return jax.vmap(one)(
    *(jnp.asarray(x) for x in (view.color, view.pixel, view.uv, view.weight, view.texture))
  )
