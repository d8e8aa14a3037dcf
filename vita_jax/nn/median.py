"""The median filter of images, with the gradient of the selected pixel."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def median_filter(image: jax.Array, size: int) -> jax.Array:
  """Computes the median of each size x size window, per channel; the border is reflected.

  The gradient goes to the pixel that was selected, as of a sort; among equal ones to the first, row by row.

  Args:
    image: float32 [..., H, W, C] with values of at least 0, sides larger than `size // 2`.
    size: odd.

  Returns:
    float32 [..., H, W, C].

  Raises:
    ValueError: an even size, or an image too small for it.

  Examples:
    >>> spot = jnp.zeros((5, 5, 1)).at[2, 2].set(1.0)
    >>> float(median_filter(spot, 3).max())
    0.0
  """
  return _select(image, size)[0]


def _select(image: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
  """(medians, padded image)."""
  if size < 1 or size % 2 == 0:
    raise ValueError(f"a median filter has an odd size, got {size}")
  reach = size // 2
  height, width = image.shape[-3:-1]
  if reach >= min(height, width):
    raise ValueError(f"an image of {height} x {width} is too small for a median filter of {size} x {size}")
  pads = [(0, 0)] * (image.ndim - 3) + [(reach, reach), (reach, reach), (0, 0)]
  padded = jnp.pad(image, pads, mode="reflect")
  if size == 1:
    return image, padded
  # Floats from 0 on are ordered as their bits: the median is found bit by bit, from the highest, as the
  # largest number that at most half of the window is below. A sort of each window is many times slower.
  bits = jax.lax.bitcast_convert_type(padded, jnp.int32)
  rank = size * size // 2

  def bit(i: jax.Array, found: jax.Array) -> jax.Array:
    tried = found | (jnp.int32(1) << (30 - i))
    below = sum((window < tried).astype(jnp.int32) for window in _windows(bits, size, height, width))
    return jnp.where(below <= rank, tried, found)

  start = jnp.zeros(image.shape, jnp.int32)
  found = jax.lax.fori_loop(0, 31, bit, start)
  return jax.lax.bitcast_convert_type(found, jnp.float32), padded


def _windows(padded: jax.Array, size: int, height: int, width: int) -> list[jax.Array]:
  """The size * size shifted images, row by row."""
  return [padded[..., i : i + height, j : j + width, :] for i in range(size) for j in range(size)]


def _forward(image: jax.Array, size: int) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  medians, padded = _select(image, size)
  return medians, (medians, padded)


def _backward(size: int, kept: tuple[jax.Array, jax.Array], slope: jax.Array) -> tuple[jax.Array]:
  medians, padded = kept
  height, width = medians.shape[-3:-1]
  reach = size // 2
  taken = jnp.zeros(medians.shape, bool)
  total = jnp.zeros_like(padded)
  for number, window in enumerate(_windows(padded, size, height, width)):
    i, j = divmod(number, size)
    here = (window == medians) & ~taken
    taken |= here
    total = total.at[..., i : i + height, j : j + width, :].add(jnp.where(here, slope, 0.0))
  # The transpose of reflecting: what was given to the border belongs to the pixels that it repeats.
  return (_folded(_folded(total, reach, -3), reach, -2),)


def _folded(x: jax.Array, reach: int, axis: int) -> jax.Array:
  x = jnp.moveaxis(x, axis, 0)
  n = x.shape[0] - 2 * reach
  inner = x[reach : reach + n]
  if reach:
    inner = inner.at[1 : reach + 1].add(x[:reach][::-1])
    inner = inner.at[n - 1 - reach : n - 1].add(x[reach + n :][::-1])
  return jnp.moveaxis(inner, 0, axis)


median_filter.defvjp(_forward, _backward)
