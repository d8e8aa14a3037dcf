"""Meshes made of formulas."""

from __future__ import annotations

from typing import Any

import numpy as np

from vita_jax.render.mesh import Mesh


def tube(stations: Any, *, around: int = 16, between: int = 4) -> Mesh:
  """Makes a closed tube through horizontal ellipses: limbs, torsos, bottles.

  Args:
    stations: float [n, 5], n >= 2: (x, y, z, x radius, z radius) of ellipses, monotonous in y.
    around: corners of an ellipse.
    between: rings from one station to the next, linear in between.

  Examples:
    >>> tube([(0, 0, 0, 1, 1), (0, 2, 0, 1, 1)], around=4, between=1).faces.shape
    (16, 3)
  """
  given = np.asarray(stations, np.float64)
  if given[0, 1] > given[-1, 1]:
    given = given[::-1]  # upwards, so that triangles are counter-clockwise seen from outside
  at = np.linspace(0, len(given) - 1, between * (len(given) - 1) + 1)
  rings = np.stack([np.interp(at, np.arange(len(given)), column) for column in given.T], axis=-1)
  angle = 2 * np.pi * np.arange(around) / around
  unit = np.stack([np.sin(angle), np.zeros(around), np.cos(angle)], axis=-1)
  points = (rings[:, None, :3] + rings[:, None, [3, 3, 4]] * unit).reshape(-1, 3)
  points = np.concatenate([points, rings[[0, -1], :3]])
  i, k = np.meshgrid(np.arange(len(rings) - 1), np.arange(around), indexing="ij")
  a, b = (i * around + k).ravel(), (i * around + (k + 1) % around).ravel()
  sides = [np.stack([a, b, b + around], 1), np.stack([a, b + around, a + around], 1)]
  each = np.arange(around)
  following, last, bottom = (each + 1) % around, (len(rings) - 1) * around, len(points) - 2
  caps = [
    np.stack([np.full(around, bottom), following, each], 1),
    np.stack([np.full(around, bottom + 1), last + each, last + following], 1),
  ]
  return Mesh(points.astype(np.float32), np.concatenate([*sides, *caps]).astype(np.int32))
