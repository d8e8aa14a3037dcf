"""Cameras: where a point of the world lies in the picture. Conventions: README.md of this folder."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.render.mesh import normalize

Vector = Any  # numbers: a tuple, a list or an array


class Camera(NamedTuple):
  """A camera as arrays, so that views can be stacked for `jax.vmap` and differentiated.

  A world point X has view coordinates `rotation X + translation` = (right, up, forward). With
  w = forward for a perspective camera and 1 for an orthographic one, its normalised coordinates are
  `focal * (right, up) / w + centre`: +x right, +y up, the shorter side of the picture spans [-1, 1].

  Attributes:
    rotation: float32 [3, 3], rows right, up, forward.
    translation: float32 [3].
    focal: float32 [2], normalised units per unit of right / w and up / w.
    centre: float32 [2], normalised coordinates of the optical axis.
    perspective: float32 scalar, 1 or 0 (orthographic).
    near, far: float32 scalars; what is nearer or farther is not drawn.
    distortion: float32 [5], (k1, k2, p1, p2, k3) of the Brown-Conrady model, on right / w and *down* / w as
      in OpenCV; zeros for none.
  """

  rotation: jax.Array
  translation: jax.Array
  focal: jax.Array
  centre: jax.Array
  perspective: jax.Array
  near: jax.Array
  far: jax.Array
  distortion: jax.Array


def look_at(eye: Any, at: Any = (0.0, 0.0, 0.0), up: Any = (0.0, 1.0, 0.0)) -> tuple[jax.Array, jax.Array]:
  """Computes (rotation [3, 3], translation [3]) of a camera at `eye` that looks at `at`.

  Right is forward x up: seen from +z with up = +y, the world's +x is on the right. (SoftRas and the
  Neural 3D Mesh Renderer take up x forward, a mirrored view.)
  """
  eye, at, up = (jnp.asarray(x, float) for x in (eye, at, up))
  forward = normalize(at - eye)
  right = normalize(jnp.cross(forward, up))
  rotation = jnp.stack([right, jnp.cross(right, forward), forward])
  return rotation, -rotation @ eye


def orbit(distance: float, azimuth: float, elevation: float = 0.0, at: Vector = (0.0, 0.0, 0.0)) -> jax.Array:
  """Computes the eye [3] on a sphere around `at`; degrees. Azimuth 0 is on +z, 90 on +x."""
  a, e = jnp.deg2rad(jnp.asarray(azimuth)), jnp.deg2rad(jnp.asarray(elevation))
  unit = jnp.stack([jnp.cos(e) * jnp.sin(a), jnp.sin(e), jnp.cos(e) * jnp.cos(a)])
  return jnp.asarray(at, float) + distance * unit


def perspective_camera(
  eye: Vector,
  at: Vector = (0.0, 0.0, 0.0),
  up: Vector = (0.0, 1.0, 0.0),
  *,
  fov: float = 60.0,
  near: float = 0.1,
  far: float = 100.0,
) -> Camera:
  """Returns a perspective camera; `fov` is the full angle of the shorter side, in degrees.

  Examples:
    >>> camera = perspective_camera(eye=(0.0, 0.0, 3.0))
  """
  focal = 1.0 / jnp.tan(jnp.deg2rad(jnp.asarray(fov, float)) / 2)
  return _camera(*look_at(eye, at, up), jnp.stack([focal, focal]), jnp.zeros(2), 1.0, near, far)


def orthographic_camera(
  eye: Vector,
  at: Vector = (0.0, 0.0, 0.0),
  up: Vector = (0.0, 1.0, 0.0),
  *,
  extent: float = 1.0,
  near: float = 0.1,
  far: float = 100.0,
) -> Camera:
  """Returns an orthographic camera; `extent` world units go from the centre to the shorter side's edge."""
  focal = jnp.broadcast_to(1.0 / jnp.asarray(extent, float), 2)
  return _camera(*look_at(eye, at, up), focal, jnp.zeros(2), 0.0, near, far)


def pinhole_camera(
  intrinsics: Vector,
  rotation: Vector,
  translation: Vector,
  *,
  size: tuple[int, int],
  near: float = 0.1,
  far: float = 100.0,
  distortion: Vector | None = None,
) -> Camera:
  """Returns the camera of OpenCV's intrinsics and extrinsics (x right, y down, z forward).

  Args:
    intrinsics: float [3, 3], K in pixels; pixel (0, 0) has its centre at (0, 0) in OpenCV, which is
      (0.5, 0.5) here, and this function shifts by it. A skew (K[0, 1]) is refused by `check_intrinsics`.
    rotation: world to camera, [3, 3].
    translation: world to camera, [3].
    size: (height, width) in pixels.
    near: see `Camera`.
    far: see `Camera`.
    distortion: (k1, k2, p1, p2, k3), optional.
  """
  height, width = size
  k, half = jnp.asarray(intrinsics, float), min(size) / 2
  flip = jnp.array([1.0, -1.0, 1.0])  # OpenCV's y is down, ours is up
  focal = jnp.stack([k[0, 0], k[1, 1]]) / half
  centre = jnp.stack([k[0, 2] + 0.5 - width / 2, height / 2 - k[1, 2] - 0.5]) / half
  rotation = flip[:, None] * jnp.asarray(rotation, float)
  translation = flip * jnp.asarray(translation, float)
  return _camera(rotation, translation, focal, centre, 1.0, near, far, distortion)


def check_intrinsics(intrinsics: Any) -> None:
  """Refuses intrinsics that `pinhole_camera` cannot represent.

  Raises:
    ValueError: K is not [3, 3], has a skew, or a focal length that is not positive.
  """
  if np.shape(intrinsics) != (3, 3):
    raise ValueError(f"intrinsics must be [3, 3], got {list(np.shape(intrinsics))}")
  if abs(float(intrinsics[0][1])) > 1e-6:
    raise ValueError(f"intrinsics have a skew of {float(intrinsics[0][1])}: remove it by resampling")
  if min(float(intrinsics[0][0]), float(intrinsics[1][1])) <= 0:
    raise ValueError("intrinsics must have positive focal lengths")


def _camera(
  rotation: Any,
  translation: Any,
  focal: Any,
  centre: Any,
  perspective: Any,
  near: Any,
  far: Any,
  distortion: Any = None,
) -> Camera:
  perspective, near, far = (jnp.asarray(x, float) for x in (perspective, near, far))
  distortion = jnp.zeros(5) if distortion is None else jnp.asarray(distortion, float)
  return Camera(rotation, translation, focal, centre, perspective, near, far, distortion)


def view(camera: Camera, points: jax.Array) -> jax.Array:
  """Computes view coordinates (right, up, forward) of world points [..., 3]."""
  return points @ camera.rotation.T + camera.translation


def to_screen(camera: Camera, points: jax.Array, size: tuple[int, int]) -> jax.Array:
  """Projects world points to homogeneous pixel coordinates.

  Args:
    camera: see `Camera`.
    points: float32 [..., 3].
    size: (height, width).

  Returns:
    float32 [..., 4]: (X, Y, w, depth). The point is at column X / w and row Y / w, counted from the upper
    left corner of the picture; the centre of pixel (row r, column c) is (c + 0.5, r + 0.5). Points with
    w <= 0 are behind the camera.
  """
  height, width = size
  seen = view(camera, points)
  depth = seen[..., 2]
  w = camera.perspective * depth + (1.0 - camera.perspective)
  right, up = _distorted(camera, seen[..., 0], seen[..., 1], w)
  half = min(size) / 2
  x = width / 2 * w + half * (camera.focal[0] * right + camera.centre[0] * w)
  y = height / 2 * w - half * (camera.focal[1] * up + camera.centre[1] * w)
  return jnp.stack([x, y, w, depth], axis=-1)


def _distorted(camera: Camera, right: jax.Array, up: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(right, up) after the lens, still multiplied by w; points behind the camera are left as they are."""
  k1, k2, p1, p2, k3 = camera.distortion
  front = w > 1e-6
  safe = jnp.where(front, w, 1.0)
  x, y = right / safe, -up / safe  # OpenCV's axes
  r2 = x * x + y * y
  radial = r2 * (k1 + r2 * (k2 + r2 * k3))
  dx = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
  dy = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
  return right + jnp.where(front, dx * safe, 0.0), up - jnp.where(front, dy * safe, 0.0)
