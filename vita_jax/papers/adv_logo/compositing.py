"""From a texture and cached views to photographs with a dressed body in them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from vita_jax import render
from vita_jax.papers.adv_logo.views import Views


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


def paste(pictures: jax.Array, alpha: jax.Array, backgrounds: jax.Array, offsets: jax.Array) -> jax.Array:
  """Pastes pictures onto backgrounds: out = picture + (1 - alpha) background, at the lower edge.

  Args:
    pictures: float32 [B, S, S, 3], premultiplied.
    alpha: float32 [B, S, S].
    backgrounds: [B, N, N, 3] with N >= S, float in [0, 1].
    offsets: int32 [B], column of the picture's left edge, 0 .. N - S.

  Returns:
    float32 [B, N, N, 3].
  """
  size, side = pictures.shape[1], backgrounds.shape[1]

  def one(picture: jax.Array, alpha: jax.Array, background: jax.Array, offset: jax.Array) -> jax.Array:
    start = (side - size, offset, 0)
    behind = jax.lax.dynamic_slice(background, start, (size, size, 3))
    return jax.lax.dynamic_update_slice(background, picture + (1 - alpha[..., None]) * behind, start)

  return jax.vmap(one)(pictures, alpha, backgrounds, offsets)


def fitted(images: jax.Array, size: int) -> jax.Array:
  """Resizes images [B, N, N, 3] to a detector's side, bilinear and antialiased; as they are where it fits."""
  if images.shape[1] == size:
    return images
  shape = (images.shape[0], size, size, 3)
  return jax.image.resize(images, shape, "linear", antialias=True)
