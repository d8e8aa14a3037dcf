"""What is trained, a texture: how it starts, what is shown of it, and how light and print disturb it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vita_jax.nn.median import median_filter

STARTS = ("grey", "noise")
LEAST = 1e-7  # the released code keeps texels this far from 0 and 1


class Disturbance(NamedTuple):
  """Ranges of the photometric augmentation: factor 1 ± contrast, ± brightness, and ± noise per texel."""

  contrast: float = 0.2
  brightness: float = 0.1
  noise: float = 0.1


def start_texture(key: jax.Array, start: str, *, count: int, size: tuple[int, int]) -> jax.Array:
  """Returns textures float32 [count, H, W, 3]: 0.5 everywhere ("grey"), or uniform in [0, 1] ("noise")."""
  shape = (count, *size, 3)
  return jax.random.uniform(key, shape) if start == "noise" else jnp.full(shape, 0.5)


def shown(textures: jax.Array, median: int) -> jax.Array:
  """Returns what is printed: the textures after the median filter (1: none). Tests and exports show this."""
  return median_filter(textures, median) if median > 1 else textures


def disturbed(key: jax.Array, textures: jax.Array, ranges: Disturbance) -> jax.Array:
  """Draws a photometric augmentation: clip(c L + s + n, 1e-7, 1 - 1e-7).

  c ~ U(1 - contrast, 1 + contrast) and s ~ U(-brightness, brightness) are one number each,
  n ~ noise U(-1, 1) is drawn per texel and channel.
  """
  keys = jax.random.split(key, 3)
  c = jax.random.uniform(keys[0], minval=1 - ranges.contrast, maxval=1 + ranges.contrast)
  s = jax.random.uniform(keys[1], minval=-ranges.brightness, maxval=ranges.brightness)
  n = ranges.noise * jax.random.uniform(keys[2], textures.shape, minval=-1.0)
  return jnp.clip(c * textures + s + n, LEAST, 1 - LEAST)
