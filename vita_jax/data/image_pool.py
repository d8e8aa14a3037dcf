"""A pool of earlier generated images, for discriminators that should not forget: CycleGAN's history buffer.

Fixed shapes and explicit keys: the pool is a part of the training state, is saved with it, and resumes bit
for bit. Shrivastava et al., "Learning from Simulated and Unsupervised Images" (CVPR 2017, section 2.3), in
the form that the code of CycleGAN gave it (Zhu et al., ICCV 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class ImagePool(NamedTuple):
  """The images that a pool holds.

  Attributes:
    images: [size, *shape]; those from `filled` on are zeros that were never shown.
    filled: int32, how many it holds.
  """

  images: jax.Array
  filled: jax.Array


def empty_pool(shape: Sequence[int], *, size: int = 50, dtype: Any = jnp.float32) -> ImagePool:
  """Returns a pool without images.

  Args:
    shape: of an image, e.g. (64, 64, 3).
    size: how many it can hold; with 0 `push_and_sample` gives back what it gets.
    dtype: of the images.

  Raises:
    ValueError: a negative size.

  Examples:
    >>> empty_pool((8, 8, 3)).images.shape
    (50, 8, 8, 3)
  """
  if size < 0:
    raise ValueError(f"size is {size}: a pool holds 0 or more images")
  return ImagePool(jnp.zeros((size, *shape), dtype), jnp.zeros((), jnp.int32))


def push_and_sample(pool: ImagePool, images: jax.Array, key: jax.Array) -> tuple[ImagePool, jax.Array]:
  """Puts images into a pool, one after the other, and returns an image for each.

  While the pool is not full, an image is stored and returned. Afterwards, with probability 1/2 a random
  stored image is returned and the new one takes its place; else the new one is returned and not stored.

  Args:
    pool: from `empty_pool`, or what this function returned.
    images: [n, *shape]. No gradient flows back to them.
    key: a PRNG key.

  Returns:
    The new pool, and images [n, *shape] of the pool's dtype.

  Raises:
    ValueError: images of another shape than the pool's.

  Examples:
    >>> pool = empty_pool((2, 2, 3), size=4)
    >>> pool, shown = push_and_sample(pool, jnp.ones((3, 2, 2, 3)), jax.random.key(0))
    >>> int(pool.filled), bool((shown == 1).all())
    (3, True)
  """
  size, shape = pool.images.shape[0], pool.images.shape[1:]
  if images.shape[1:] != shape:
    raise ValueError(f"the pool holds images {list(shape)}, these are {list(images.shape[1:])}")
  images = jax.lax.stop_gradient(images).astype(pool.images.dtype)
  if size == 0:
    return pool, images
  coins, places = jax.random.split(key)
  swap = jax.random.bernoulli(coins, 0.5, (len(images),))
  place = jax.random.randint(places, (len(images),), 0, size)
  return jax.lax.scan(_push_one, pool, (images, swap, place))


def _push_one(pool: ImagePool, new: tuple[jax.Array, ...]) -> tuple[ImagePool, jax.Array]:
  image, swap, place = new
  filling = pool.filled < pool.images.shape[0]
  place = jnp.where(filling, pool.filled, place)
  stored = pool.images[place]
  # One write whatever happens: a branch would copy the whole pool where replicas run together.
  kept = pool.images.at[place].set(jnp.where(filling | swap, image, stored))
  return ImagePool(kept, pool.filled + filling), jnp.where(filling | ~swap, image, stored)
