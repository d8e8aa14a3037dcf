"""Augmenting batches inside of a compiled step, for pictures that are held on the device."""

from __future__ import annotations

import jax
import jax.numpy as jnp

AUGMENTS = ("none", "shift", "flip", "both")


def augmented(key: jax.Array, images: jax.Array, kind: str) -> jax.Array:
  """Shifts pictures [n, h, w, c] by up to 1/8 of their sides, the edge repeated, and mirrors every other one.

  `kind` is "shift", "flip" or "both"; each picture has its own chance, the same for every method.
  """
  shift_key, flip_key = jax.random.split(key)
  n, height, width, channels = images.shape
  if kind in ("flip", "both"):
    turned = jax.random.bernoulli(flip_key, shape=(n, 1, 1, 1))
    images = jnp.where(turned, images[:, :, ::-1], images)
  if kind == "flip":
    return images
  pad = max(1, height // 8)
  padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="edge")
  places = jax.random.randint(shift_key, (n, 2), 0, 2 * pad + 1)

  def cut(image: jax.Array, place: jax.Array) -> jax.Array:
    return jax.lax.dynamic_slice(image, (place[0], place[1], 0), (height, width, channels))

  return jax.vmap(cut)(padded, places)
