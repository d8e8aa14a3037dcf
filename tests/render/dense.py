"""Every face at every pixel in float64 numpy, loop by loop: what the renderer is compared with."""

import numpy as np


def screen(camera, vertices, size):
  """Columns, rows, w and depth of vertices, as `render.to_screen` defines them; no lens distortion."""
  rotation, translation, focal, centre, perspective = (np.asarray(x, np.float64) for x in camera[:5])
  seen = np.asarray(vertices, np.float64) @ rotation.T + translation
  w = np.where(perspective > 0, seen[:, 2], 1.0)
  half = min(size) / 2
  x = size[1] / 2 + half * (focal[0] * seen[:, 0] / w + centre[0])
  y = size[0] / 2 - half * (focal[1] * seen[:, 1] / w + centre[1])
  return x, y, w, seen[:, 2]


def hard(camera, vertices, faces, size):
  """(face [H, W] or -1, depth [H, W]) of the nearest face over each pixel's centre, all vertices in front."""
  x, y, w, depth = screen(camera, vertices, size)
  nearest, found = np.full(size, np.inf), np.full(size, -1)
  row, column = np.mgrid[: size[0], : size[1]] + 0.5
  for number, (a, b, c) in enumerate(faces):
    area = (x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a])
    if abs(area) < 1e-12:
      continue
    inner = [
      ((x[j] - column) * (y[k] - row) - (y[j] - row) * (x[k] - column)) / area
      for j, k in ((b, c), (c, a), (a, b))
    ]
    over = np.stack([part / w[i] for part, i in zip(inner, (a, b, c), strict=True)])
    z = np.sum(over * depth[[a, b, c]][:, None, None], 0) / over.sum(0)
    inside = np.all([part >= 0 for part in inner], axis=0) & (z < nearest)
    inside &= (z >= float(camera.near)) & (z <= float(camera.far))
    nearest[inside], found[inside] = z[inside], number
  return found, np.where(found >= 0, nearest, 0.0)


def soft(camera, vertices, faces, colors, size, *, sigma, gamma=1e-4, epsilon=1e-3, background=0.0):
  """(color [H, W, C], alpha [H, W]) by the formulas of SoftRas; colors [F, 3, C] at the corners."""
  x, y, w, depth = screen(camera, vertices, size)
  half, near, far = min(size) / 2, float(camera.near), float(camera.far)
  row, column = np.mgrid[: size[0], : size[1]] + 0.5
  cut, outside = sigma * np.log(1 / 1e-4 - 1), np.ones(size)
  parts = []
  for number, corners in enumerate(faces):
    px, py = x[corners], y[corners]
    area = (px[1] - px[0]) * (py[2] - py[0]) - (py[1] - py[0]) * (px[2] - px[0])
    inner = np.stack(
      [
        ((px[j] - column) * (py[k] - row) - (py[j] - row) * (px[k] - column)) / area
        for j, k in ((1, 2), (2, 0), (0, 1))
      ]
    )
    inside, square = np.all(inner > 0, axis=0), np.full(size, np.inf)
    for k in range(3):
      dx, dy = px[(k + 1) % 3] - px[k], py[(k + 1) % 3] - py[k]
      t = np.clip(((column - px[k]) * dx + (row - py[k]) * dy) / (dx * dx + dy * dy), 0, 1)
      square = np.minimum(square, (px[k] + t * dx - column) ** 2 + (py[k] + t * dy - row) ** 2)
    square /= half**2
    counts = inside | (square < cut)
    logit = np.where(inside, -1, 1) * np.minimum(square / sigma, 700)
    probability = np.where(counts, 1 / (1 + np.exp(logit)), 0.0)
    outside *= 1 - probability
    clipped = np.clip(inner, 0, 1)
    over = clipped / np.maximum(clipped.sum(0), 1e-5) / w[corners][:, None, None]
    weights = over / over.sum(0)
    z = np.sum(weights * depth[corners][:, None, None], axis=0)
    if area < 0:  # front, with rows counted down
      shown = np.where((z >= near) & (z <= far), probability, 0.0)
      parts.append((shown, (far - z) / (far - near), np.einsum("khw,kc->hwc", weights, colors[number])))
  highest = max([epsilon, *(float(zbar[p > 0].max()) for p, zbar, _ in parts if (p > 0).any())])
  behind = np.exp((epsilon - highest) / gamma)
  total, color = np.full(size, behind), np.full((*size, colors.shape[-1]), behind * background)
  for probability, zbar, shown in parts:
    weight = np.where(probability > 0, probability * np.exp(np.minimum(zbar - highest, 0) / gamma), 0.0)
    total, color = total + weight, color + weight[..., None] * shown
  return color / np.maximum(total, 1e-300)[..., None], 1 - outside


def random_mesh(seed, n_faces, *, spread=0.9, edge=0.5):
  """(vertices [3 F, 3], faces [F, 3]): triangles of random places and sizes around the origin."""
  rng = np.random.default_rng(seed)
  centres = rng.uniform(-spread, spread, (n_faces, 1, 3))
  vertices = centres + rng.uniform(-edge, edge, (n_faces, 3, 3))
  return vertices.reshape(-1, 3).astype(np.float32), np.arange(3 * n_faces).reshape(-1, 3)
