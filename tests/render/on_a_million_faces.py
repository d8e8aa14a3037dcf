"""A sphere of a million triangles at 512 x 512: prints by how many MB the process grew beyond the mesh."""

import json
import resource

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import render

ROWS, COLUMNS = 710, 710


def peak():
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


theta, phi = np.meshgrid(
  np.linspace(0, np.pi, ROWS + 1), np.linspace(0, 2 * np.pi, COLUMNS + 1), indexing="ij"
)
points = np.stack([np.sin(theta) * np.cos(phi), np.cos(theta), np.sin(theta) * np.sin(phi)], axis=-1)
first = (np.arange(ROWS)[:, None] * (COLUMNS + 1) + np.arange(COLUMNS)).reshape(-1, 1)
faces = np.concatenate([first + [0, 1, COLUMNS + 1], first + [1, COLUMNS + 2, COLUMNS + 1]], axis=0)
mesh = render.Mesh(jnp.asarray(points.reshape(-1, 3) * 0.9, jnp.float32), jnp.asarray(faces, jnp.int32))
jax.block_until_ready(mesh)
before = peak()
camera = render.perspective_camera((0.0, 0.0, 2.5), fov=50.0)
found = jax.block_until_ready(render.rasterize(mesh, camera, (512, 512)))
covered = float((found.face >= 0).mean())
print(json.dumps({"faces": len(faces), "covered": covered, "megabytes": peak() - before}))
