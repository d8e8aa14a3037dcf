"""A pool of earlier generated images, for discriminators that should not forget: CycleGAN's history buffer.

An entry is an image, or a dict of an image and what it was made for, which then stay together.

Fixed shapes and explicit keys: the pool is a part of the training state, is saved with it, and resumes bit
for bit. Shrivastava et al., "Learning from Simulated and Unsupervised Images" (CVPR 2017, section 2.3), in
the form that the code of CycleGAN gave it (Zhu et al., ICCV 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vita_jax.base.tree import named_leaves


class ImagePool(NamedTuple):
  """The images that a pool holds.

  Attributes:
    images: [size, *shape], or a dict of such; those from `filled` on are zeros that were never shown.
    filled: int32, how many it holds.
  """

  images: Any
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


def empty_pool_like(images: Any, *, size: int = 50) -> ImagePool:
  """Returns a pool without images for batches like this one: arrays [n, *shape], or shapes of such.

  Examples:
    >>> pool = empty_pool_like({"image": jnp.zeros((3, 8, 8, 3)), "joints": jnp.zeros((3, 21, 2))})
    >>> pool.images["image"].shape, pool.images["joints"].shape
    ((50, 8, 8, 3), (50, 21, 2))
  """
  pools = jax.tree.map(lambda x: empty_pool(x.shape[1:], size=size, dtype=x.dtype).images, images)
  return ImagePool(pools, jnp.zeros((), jnp.int32))


def push_and_sample(pool: ImagePool, images: Any, key: jax.Array) -> tuple[ImagePool, Any]:
  """Puts images into a pool, one after the other, and returns an image for each.

  While the pool is not full, an image is stored and returned. Afterwards, with probability 1/2 a random
  stored image is returned and the new one takes its place; else the new one is returned and not stored.

  Args:
    pool: from `empty_pool`, or what this function returned.
    images: [n, *shape], or a dict like the pool's. No gradient flows back to them.
    key: a PRNG key.

  Returns:
    The new pool, and images [n, *shape] (or a dict of them) of the pool's dtypes.

  Raises:
    ValueError: images of another shape than the pool's.

  Examples:
    >>> pool = empty_pool((2, 2, 3), size=4)
    >>> pool, shown = push_and_sample(pool, jnp.ones((3, 2, 2, 3)), jax.random.key(0))
    >>> int(pool.filled), bool((shown == 1).all())
    (3, True)
  """
  held, given = named_leaves({"images": pool.images}), named_leaves({"images": images})
  shapes, found = ({name: list(x.shape[1:]) for name, x in leaves.items()} for leaves in (held, given))
  if shapes != found:
    raise ValueError(f"the pool holds {_named(shapes)}, these are {_named(found)}")
  size, count = (next(iter(leaves.values())).shape[0] for leaves in (held, given))
  images = jax.tree.map(lambda x, old: jax.lax.stop_gradient(x).astype(old.dtype), images, pool.images)
  if size == 0:
    return pool, images
  coins, places = jax.random.split(key)
  swap = jax.random.bernoulli(coins, 0.5, (count,))
  place = jax.random.randint(places, (count,), 0, size)
  return jax.lax.scan(_push_one, pool, (images, swap, place))


def _named(shapes: dict[str, list[int]]) -> str:
  return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def _push_one(pool: ImagePool, new: tuple[Any, jax.Array, jax.Array]) -> tuple[ImagePool, Any]:
  image, swap, place = new
  size = jax.tree.leaves(pool.images)[0].shape[0]
  filling = pool.filled < size
  place = jnp.where(filling, pool.filled, place)
  stored = jax.tree.map(lambda old: old[place], pool.images)
  # One write whatever happens: a branch would copy the whole pool where replicas run together.
  kept = jax.tree.map(
    lambda old, own, new: old.at[place].set(jnp.where(filling | swap, new, own)), pool.images, stored, image
  )
  shown = jax.tree.map(lambda own, new: jnp.where(filling | ~swap, new, own), stored, image)
  return ImagePool(kept, pool.filled + filling), shown
