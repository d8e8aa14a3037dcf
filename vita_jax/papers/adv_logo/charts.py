"""The logo transformation: one flat texture dresses every body, through a chart of its surface.

A chart says which faces wear the logo and where in the texture their corners lie. It is placed by landmarks
of the body, so that one texture fits bodies of any height and width.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import render
from vita_jax.base.choose import choose

CHARTS = ("planar", "cylindrical")
SIDES = ("front", "back")
FACING = 0.1  # least cosine between a face's normal and the direction that it is projected along


class Landmarks(NamedTuple):
  """Joints of a standing body, float [3] each; +y is up, +z its front, +x its left."""

  neck: np.ndarray
  hips: np.ndarray
  left_shoulder: np.ndarray
  right_shoulder: np.ndarray


class Chart(NamedTuple):
  """faces: bool [F], those that wear the logo; uv: float32 [F, 3, 2], places of their corners in the texture.

  (0, 0) is the texture's lower left corner as one sees it who faces the logo. At the rim of the logo corners
  lie beyond [0, 1]; only what is inside is printed.
  """

  faces: np.ndarray
  uv: np.ndarray


class Place(NamedTuple):
  """Where the logo is, in terms of the body's landmarks.

  Attributes:
    side: "front" or "back".
    width: of the planar chart, in distances between the shoulders.
    height: in distances from hips to neck.
    drop: from the neck to the upper edge, in distances from hips to neck.
    span: of the cylindrical chart, in degrees around the torso's axis.
  """

  side: str = "front"
  width: float = 1.0
  height: float = 0.9
  drop: float = 0.06
  span: float = 150.0


def make_chart(
  kind: str, mesh: render.Mesh, landmarks: Landmarks, place: Place, *, torso: np.ndarray | None = None
) -> Chart:
  """Makes the chart of a body.

  Args:
    kind: "planar" projects along the line of sight of someone who faces the body; "cylindrical" unrolls
      the surface around the vertical axis through the middle of the torso, with less stretch at the sides.
    mesh: the body. landmarks, place: see there.
    torso: bool [V], vertices that may wear the logo; None: all.

  Raises:
    ValueError: an unknown chart or side, or no face of the body inside: the logo lies off the body.
  """
  choose("chart", kind, CHARTS)
  choose("side", place.side, SIDES)
  corners = np.asarray(mesh.vertices, np.float64)[np.asarray(mesh.faces)]
  neck, hips = (np.asarray(x, np.float64) for x in (landmarks.neck, landmarks.hips))
  length = neck[1] - hips[1]
  if not length > 0:
    raise ValueError(f"the neck is {length:.3g} above the hips: a body stands upright, +y is up")
  top = neck[1] - place.drop * length
  bottom = top - place.height * length
  v = (corners[..., 1] - bottom) / (top - bottom)
  sign = 1.0 if place.side == "front" else -1.0  # who faces the back has the body's +x on the left
  normals = np.asarray(render.face_normals(mesh), np.float64)
  across = float(np.linalg.norm(np.subtract(landmarks.left_shoulder, landmarks.right_shoulder)))
  if kind == "planar":
    u = 0.5 + sign * (corners[..., 0] - neck[0]) / (place.width * across)
    faces = sign * normals[:, 2] > FACING
  else:
    u, faces = _unrolled(corners, normals, _axis(corners, v, neck, across), sign, place.span)
  inside = (u.max(1) > 0) & (u.min(1) < 1) & (v.max(1) > 0) & (v.min(1) < 1)
  faces = faces & inside
  if torso is not None:
    faces &= np.asarray(torso)[np.asarray(mesh.faces)].all(axis=1)
  if not faces.any():
    raise ValueError(
      f"the logo lies off the body: no face on its {place.side} is between heights {bottom:.3g} and"
      f" {top:.3g}; check config.place and the body's landmarks"
    )
  return Chart(faces, np.stack([u, v], axis=-1).astype(np.float32))


def _axis(corners: np.ndarray, v: np.ndarray, neck: np.ndarray, across: float) -> np.ndarray:
  """(x, z) below the neck, halfway from breast to back at the logo's height; arms are further aside."""
  inner = (v > 0) & (v < 1) & (np.abs(corners[..., 0] - neck[0]) < across / 3)
  depth = corners[..., 2][inner]
  return np.array([neck[0], (depth.min() + depth.max()) / 2 if len(depth) else neck[2]])


def _unrolled(
  corners: np.ndarray, normals: np.ndarray, axis: np.ndarray, sign: float, span: float
) -> tuple[np.ndarray, np.ndarray]:
  """(u [F, 3], faces that look outwards [F]) around a vertical axis (x, z)."""
  x, z = sign * (corners[..., 0] - axis[0]), sign * (corners[..., 2] - axis[1])
  angle = np.arctan2(x, z)
  outward = np.stack([x.mean(1), z.mean(1)], axis=-1)
  outward /= np.maximum(np.linalg.norm(outward, axis=-1, keepdims=True), 1e-12)
  facing = sign * (normals[:, 0] * outward[:, 0] + normals[:, 2] * outward[:, 1]) > FACING
  whole = np.ptp(angle, axis=1) < np.pi  # not across the cut behind
  return 0.5 + angle / np.deg2rad(span), facing & whole


def flat_faces(chart: Chart, size: tuple[int, int]) -> Chart:
  """Returns the chart by which each face shows one texel, the nearest to its middle, as the released code.

  Args:
    chart: any.
    size: (height, width) of the texture.
  """
  texels = np.array(size[::-1])
  middle = np.floor(chart.uv.mean(axis=1) * texels)
  centre = (np.clip(middle, 0, texels - 1) + 0.5) / texels
  inside = ((chart.uv.mean(axis=1) >= 0) & (chart.uv.mean(axis=1) <= 1)).all(axis=1)
  uv = np.broadcast_to(centre[:, None], chart.uv.shape).astype(np.float32)
  return Chart(chart.faces & inside, uv)


def storage_order(chart: Chart, size: tuple[int, int]) -> Chart:
  """Returns the chart by which the worn faces take texels row by row in the order in which they are stored.

  What the paper calls the conventional way: a texture of one mesh means nothing on another.
  """
  height, width = size
  number = np.cumsum(chart.faces) - 1
  number = np.where(chart.faces, number, 0) % (height * width)
  centre = np.stack([(number % width + 0.5) / width, 1 - (number // width + 0.5) / height], axis=-1)
  return Chart(chart.faces, np.broadcast_to(centre[:, None], chart.uv.shape).astype(np.float32))


def logo_transformation(
  mesh: render.Mesh, chart: Chart, texture: jax.Array, *, mask: jax.Array | None = None
) -> render.Mesh:
  """Dresses a mesh: T(L)(f) = L[texel at the middle of face f] on the faces that wear the logo.

  A gather, hence differentiable in the texture, and the same texture dresses every mesh. One flat colour per
  face, as the released code has it; training samples the texture per pixel (`views.py`).

  Args:
    mesh: with face_colors, vertex_colors or neither (grey).
    chart: of this mesh.
    texture: float32 [H, W, 3] in [0, 1].
    mask: float [H, W] of `shape_mask`; None: the full rectangle.

  Returns:
    The mesh with face_colors.
  """
  middle = jnp.asarray(chart.uv.mean(axis=1))
  worn = jnp.asarray(chart.faces) & jnp.all((middle >= 0) & (middle <= 1), axis=-1)
  if mask is not None:
    worn &= render.sample(jnp.asarray(mask)[..., None], middle, filter="nearest")[..., 0] > 0.5
  colors = render.sample(texture, middle, filter="nearest")
  dressed = jnp.where(worn[:, None], colors, render.face_colors_of(mesh))
  return mesh._replace(face_colors=dressed, vertex_colors=None, texture=None, uv=None, face_uv=None)
