"""What guides a generator to a pose: heat maps, a depth map and a drawing of the joints, from (uv, z) alone.

Pure functions under jit and vmap. Joints are those of `HAND`: `uv` in pixels (x, y), counted from the centre
of the pixel at the upper left, and `z` in mm. Pixel constants are those of the paper's pictures of 256 pixels
(MM-Hand, arXiv 2010.01158, and its released code); a picture of S pixels takes S / 256 of them.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.pose.skeletons import HAND

SIDE = 256  # pixels of the paper's pictures
SIGMA, CUT = 6.0, 0.0099  # of the heat maps
FAR = 700.0  # mm: what a depth map says where there is no hand
PALM_RADIUS, FINGER_RADIUS = 10.0, 7.0  # pixels of the capsules
HALF_WIDTH = 5.0  # pixels of the ellipses
PALM = (
  85.0  # mm from the wrist to a knuckle, root mean square of the four fingers' and the thumb's first joint
)

EDGES = np.array(HAND.limbs)
IS_PALM = EDGES[:, 0] == 0
# Grey level of each edge, in the order of `HAND.limbs`: the edge from the wrist, then the finger outwards.
LEVELS = np.array(
  [*(170, 10, 20, 30), *(180, 40, 50, 60), *(190, 70, 80, 90), *(200, 100, 110, 120), *(160, 130, 140, 150)]
)


@functools.partial(jax.jit, static_argnames="size")
def heat_maps(uv: Any, *, size: int, sigma: float | None = None) -> jax.Array:
  """Draws P_j(x, y) = exp(-((x - u_j)^2 + (y - v_j)^2) / (2 sigma^2)), 0 where it is below 0.0099.

  (`vita_jax.pose.gaussian_targets` cuts a square of 3 sigma out instead: it keeps 0.0001 at its corners, and
  drops what is 3.00 to 3.04 sigma away along an axis.)

  Args:
    uv: [..., 21, 2].
    size: S.
    sigma: in pixels; None: 6 S / 256.

  Returns:
    float32 [..., S, S, 21].

  Examples:
    >>> maps = heat_maps(jnp.full((21, 2), 100.0).at[0].set(jnp.array([40.0, 30.0])), size=256)
    >>> [round(float(maps[30, 40 + away, 0]), 5) for away in (0, 6, 18, 19)]
    [1.0, 0.60653, 0.01111, 0.0]
  """
  sigma = SIGMA * size / SIDE if sigma is None else sigma
  uv, places = jnp.asarray(uv, jnp.float32), jnp.arange(size, dtype=jnp.float32)[:, None]
  columns, rows = (
    jnp.exp(-jnp.square(places - uv[..., None, :, i]) / (2 * sigma**2)) for i in (0, 1)
  )  # [..., S, 21]
  maps = rows[..., :, None, :] * columns[..., None, :, :]
  return jnp.where(maps >= CUT, maps, 0.0)


@functools.partial(jax.jit, static_argnames="size")
def capsule_depth(uv: Any, z: Any, *, size: int, mm_per_pixel: Any = None, far: float = FAR) -> jax.Array:
  """Draws the depth of a hand of capsules in mm, one around each bone.

  For the edge (a, b) and the pixel p, with t = clip(((p - a) . (b - a)) / (|b - a|^2 + 1e-8), 0, 1) and r =
  |p - (a + t (b - a))|, the surface is at z_a + t (z_b - z_a) - sqrt(R^2 - r^2) mm_per_pixel where r < R. R
  is 10 S / 256 pixels for edges of the wrist and 7 S / 256 for others. Each pixel gets the nearest surface.

  Args:
    uv: [..., 21, 2].
    z: [..., 21] in mm.
    size: S.
    mm_per_pixel: [...]; None: `scale_of`.
    far: where there is nothing.

  Returns:
    float32 [..., S, S].
  """
  uv, z = jnp.asarray(uv, jnp.float32), jnp.asarray(z, jnp.float32)
  scale = scale_of(uv, z) if mm_per_pixel is None else jnp.asarray(mm_per_pixel, jnp.float32)
  radius = jnp.asarray(np.where(IS_PALM, PALM_RADIUS, FINGER_RADIUS) * size / SIDE, jnp.float32)
  x, y, a, along = _from_edges(uv, size)
  square = jnp.sum(jnp.square(along), axis=-1)[..., None, None]
  t = jnp.clip((x * along[..., 0, None, None] + y * along[..., 1, None, None]) / (square + 1e-8), 0.0, 1.0)
  dx, dy = x - t * along[..., 0, None, None], y - t * along[..., 1, None, None]
  inside = jnp.square(radius)[:, None, None] - jnp.square(dx) - jnp.square(dy)
  start, end = z[..., EDGES[:, 0]], z[..., EDGES[:, 1]]
  depth = start[..., None, None] + t * (end - start)[..., None, None]
  depth -= jnp.sqrt(jnp.maximum(inside, 0.0)) * scale[..., None, None, None]
  return jnp.min(jnp.where(inside > 0, depth, far), axis=-3)


def scale_of(uv: jax.Array, z: jax.Array) -> jax.Array:
  """Estimates mm per pixel [...] of a pose: that at which the palm has the size of `PALM`.

  sqrt(max(sum(PALM^2 - dz^2), 0) / sum(du^2 + dv^2)) over the five edges of the wrist.
  """
  ends = EDGES[IS_PALM]
  flat = jnp.sum(jnp.square(uv[..., ends[:, 1], :] - uv[..., ends[:, 0], :]), axis=(-2, -1))
  deep = jnp.sum(jnp.square(z[..., ends[:, 1]] - z[..., ends[:, 0]]), axis=-1)
  return jnp.sqrt(jnp.maximum(len(ends) * PALM**2 - deep, 0.0) / jnp.maximum(flat, 1e-8))


def joints_before(uv: Any, z: Any) -> np.ndarray:
  """Estimates joints [..., 21, 3] in mm from (uv, z), seen in parallel with the `scale_of` the pose."""
  scale = scale_of(jnp.asarray(uv, jnp.float32), jnp.asarray(z, jnp.float32))
  return np.concatenate([np.asarray(scale)[..., None, None] * uv, np.asarray(z)[..., None]], axis=-1)


@functools.partial(jax.jit, static_argnames="size")
def joints_map(uv: Any, z: Any, *, size: int) -> jax.Array:
  """Draws every bone as a filled ellipse, nearer ones over farther ones.

  The ellipse of the edge (a, b) has the centre (a + b) / 2, the semi-axes |b - a| / 2 along it and 5 S / 256
  across. A pixel gets the grey level of the edge with the smallest (z_a + z_b) / 2 among those that cover it.

  Args:
    uv: [..., 21, 2].
    z: [..., 21] in any unit.
    size: S.

  Returns:
    float32 [..., S, S]: grey levels from 10 to 200 of `LEVELS`, 0 for the background.
  """
  uv, z = jnp.asarray(uv, jnp.float32), jnp.asarray(z, jnp.float32)
  x, y, _, along = _from_edges(uv, size)
  length = jnp.sqrt(jnp.sum(jnp.square(along), axis=-1))[..., None, None]
  unit = [along[..., i, None, None] / jnp.maximum(length, 1e-8) for i in (0, 1)]
  lengthwise, across = x * unit[0] + y * unit[1] - length / 2, y * unit[0] - x * unit[1]
  half = jnp.maximum(length / 2, 1e-8)
  covered = jnp.square(lengthwise / half) + jnp.square(across / (HALF_WIDTH * size / SIDE)) <= 1
  covered &= length > 0  # joints in one place have no direction
  depth = (z[..., EDGES[:, 0]] + z[..., EDGES[:, 1]])[..., None, None] / 2
  depth = jnp.where(covered, depth, jnp.inf)
  level = jnp.asarray(LEVELS, jnp.float32)[jnp.argmin(depth, axis=-3)]
  return jnp.where(jnp.any(covered, axis=-3), level, 0.0)


def _from_edges(uv: jax.Array, size: int) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """(x, y [..., 20, S or 1, 1 or S] of the pixels from the start of each edge, the starts, start to end)."""
  a, b = uv[..., EDGES[:, 0], :], uv[..., EDGES[:, 1], :]
  places = jnp.arange(size, dtype=jnp.float32)
  return places[None, :] - a[..., 0, None, None], places[:, None] - a[..., 1, None, None], a, b - a
