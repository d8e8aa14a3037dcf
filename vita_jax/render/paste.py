"""Pictures onto photographs: compositing with alpha, and a texture as a decal on a coloured mesh."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.render.mesh import Array, Mesh
from vita_jax.render.shading import sample

PALETTE = 4  # texels of each side of a colour in a decal's texture: filters do not mix neighbours


def paste(pictures: Array, alpha: Array, backgrounds: Array, offsets: Array) -> jax.Array:
  """Pastes pictures onto backgrounds at the lower edge: out = picture + (1 - alpha) background.

  Args:
    pictures: float32 [B, S, S, 3], premultiplied by alpha.
    alpha: float32 [B, S, S].
    backgrounds: float [B, N, N, 3] with N >= S.
    offsets: int32 [B], column of the picture's left edge, 0 .. N - S.

  Returns:
    float32 [B, N, N, 3].
  """
  size, side = pictures.shape[1], backgrounds.shape[1]

  def one(picture: jax.Array, alpha: jax.Array, background: jax.Array, offset: jax.Array) -> jax.Array:
    start = (side - size, offset, 0)
    behind = jax.lax.dynamic_slice(background, start, (size, size, 3))
    return jax.lax.dynamic_update_slice(background, picture + (1 - alpha[..., None]) * behind, start)

  return jax.vmap(one)(*(jnp.asarray(x) for x in (pictures, alpha, backgrounds, offsets)))


def face_colors_of(mesh: Mesh) -> jax.Array:
  """Returns one colour per face, float32 [F, 3]: of the texture, the vertices, the faces, or grey."""
  if mesh.texture is not None and mesh.uv is not None:
    middle = jnp.asarray(mesh.uv)[mesh.face_uv].mean(axis=1)
    return sample(jnp.asarray(mesh.texture), middle)[:, :3]
  if mesh.vertex_colors is not None:
    return jnp.asarray(mesh.vertex_colors)[mesh.faces].mean(axis=1)[:, :3]
  if mesh.face_colors is not None:
    return jnp.asarray(mesh.face_colors)[:, :3]
  return jnp.full((mesh.faces.shape[0], 3), 0.5)


def with_decal(mesh: Mesh, faces: np.ndarray, uv: np.ndarray, decal: Array, mask: Array) -> Mesh:
  """Returns the mesh with one texture that holds its colours and a decal: what a GLB file can show.

  The decal lies on the left of the texture, over the commonest colour of the faces that wear it and with a
  rim of it; the colours of the other faces stand in columns on the right.

  Args:
    mesh: its own colours are those of `face_colors_of`.
    faces: bool [F], faces that wear the decal.
    uv: float [F, 3, 2], places of their corners in the decal; beyond [0, 1] the rim shows.
    decal: float [H, W, 3] in [0, 1]. mask: float [H, W], 1 where it is opaque.
  """
  palette, number = np.unique(np.round(np.asarray(face_colors_of(mesh)), 2), axis=0, return_inverse=True)
  number = number.ravel()
  base = palette[np.bincount(number[faces]).argmax()]
  height, width = np.shape(mask)
  rim = max(height, width)
  rows = height + 2 * rim
  per_column = rows // PALETTE
  columns = -(-len(palette) // per_column) * PALETTE
  texture = np.empty((rows, width + 2 * rim + columns, 3), np.float32)
  texture[:] = base
  share = np.asarray(mask)[..., None]
  texture[rim : rim + height, rim : rim + width] = share * np.asarray(decal) + (1 - share) * base
  y = np.arange(len(palette)) % per_column * PALETTE
  x = width + 2 * rim + np.arange(len(palette)) // per_column * PALETTE
  for i, color in enumerate(palette):
    texture[y[i] : y[i] + PALETTE, x[i] : x[i] + PALETTE] = color
  flat = np.stack([(x + PALETTE / 2) / texture.shape[1], 1 - (y + PALETTE / 2) / rows], axis=-1)
  corners = np.repeat(flat[number][:, None], 3, axis=1)
  worn = np.clip(np.asarray(uv) * (width, height), 1 - rim, (width + rim - 1, height + rim - 1)) + rim
  corners[faces] = (worn / (texture.shape[1], rows))[faces]
  return Mesh(
    vertices=mesh.vertices,
    faces=mesh.faces,
    uv=corners.reshape(-1, 2).astype(np.float32),
    face_uv=np.arange(3 * len(number), dtype=np.int32).reshape(-1, 3),
    texture=texture,
  )
