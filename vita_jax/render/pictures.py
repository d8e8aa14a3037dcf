"""Pictures as files: PNG, and turntables as animated GIF."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from vita_jax.render.camera import Camera, orbit, orthographic_camera
from vita_jax.render.maps import render
from vita_jax.render.mesh import Mesh
from vita_jax.render.shading import Lights


def as_bytes(color: Any) -> np.ndarray:
  """Converts float [..., C] in [0, 1] to uint8, rounding; values beyond are clipped."""
  return np.round(np.clip(np.asarray(color, np.float32), 0.0, 1.0) * 255).astype(np.uint8)


def save_png(path: str | os.PathLike, color: Any) -> None:
  """Saves float [H, W, 3] or [H, W] in [0, 1] as PNG."""
  from PIL import Image

  Image.fromarray(as_bytes(color)).save(path, "PNG")


def save_gif(path: str | os.PathLike, colors: Sequence[Any], *, seconds_per_frame: float = 0.1) -> None:
  """Saves float pictures [H, W, 3] as an endless animated GIF.

  Raises:
    ValueError: no pictures.
  """
  from PIL import Image

  if len(colors) == 0:
    raise ValueError("an animation needs at least one picture")
  frames = [Image.fromarray(as_bytes(color)) for color in colors]
  duration = int(seconds_per_frame * 1000)
  frames[0].save(path, "GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0)


def frame_camera(mesh: Mesh, azimuth: float, *, elevation: float = 0.0, margin: float = 1.1) -> Camera:
  """Returns an orthographic camera that has the whole mesh in the picture from any azimuth (degrees)."""
  vertices = np.asarray(mesh.vertices)
  centre = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
  radius = float(np.linalg.norm(vertices - centre, axis=1).max()) or 1.0
  eye = orbit(2 * radius, azimuth, elevation, centre)
  return orthographic_camera(eye, centre, extent=margin * radius, near=0.1 * radius, far=10 * radius)


def turntable(
  mesh: Mesh,
  *,
  views: int = 24,
  size: tuple[int, int] = (256, 256),
  elevation: float = 10.0,
  lights: Lights | None = None,
  background: Any = 1.0,
  antialias: int = 2,
) -> np.ndarray:
  """Renders a mesh from all around, float32 [views, H, W, 3].

  Args:
    mesh: see `Mesh`.
    views: how many, at equal angles.
    size: (height, width).
    elevation: of the camera, degrees.
    lights: see `Lights`; None: ambient 0.6 and a directional one of 0.4 from above.
    background: a colour, see `shade`.
    antialias: see `render`.

  Examples:
    >>> triangle = Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]]))
    >>> turntable(triangle, views=2, size=(8, 8)).shape
    (2, 8, 8, 3)
  """
  lights = Lights(0.6, 0.4, (0.3, 0.6, 0.7)) if lights is None else lights
  cameras = [frame_camera(mesh, turn * 360.0 / views, elevation=elevation) for turn in range(views)]
  options: dict[str, Any] = {"lights": lights, "background": background, "antialias": antialias}
  return np.stack([np.asarray(render(mesh, camera, size, **options).color) for camera in cameras])
