"""The pool is CycleGAN's: a loop in Python with the same coins gives the same images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.data.image_pool import empty_pool, empty_pool_like, push_and_sample

push = jax.jit(push_and_sample)


def numbered(start, n):
  return jnp.arange(start, start + n, dtype=jnp.float32).reshape(n, 1, 1, 1) * jnp.ones((1, 2, 2, 3))


def by_hand(batches, size, keys):
  """The rule as a loop: what each batch gets back, and what the pool holds."""
  held, shown = [], []
  for batch, key in zip(batches, keys, strict=True):
    coins, places = jax.random.split(key)
    swap, place = (
      jax.random.bernoulli(coins, 0.5, (len(batch),)),
      jax.random.randint(places, (len(batch),), 0, size),
    )
    for x, s, p in zip(batch, swap.tolist(), place.tolist(), strict=True):
      if len(held) < size:
        held.append(x)
        shown.append(x)
      elif s:
        shown.append(held[p])
        held[p] = x
      else:
        shown.append(x)
  return held, shown


def test_it_does_what_the_loop_does():
  size, n = 7, 4
  keys = [jax.random.fold_in(jax.random.key(3), t) for t in range(12)]
  pool, shown = empty_pool((2, 2, 3), size=size), []
  for t, key in enumerate(keys):
    pool, out = push(pool, numbered(n * t, n), key)
    shown += out[:, 0, 0, 0].tolist()
  numbers = [[float(n * t + i) for i in range(n)] for t in range(len(keys))]
  held, expected = by_hand(numbers, size, keys)
  assert shown == expected and pool.images[:, 1, 1, 2].tolist() == held
  assert int(pool.filled) == size


def test_the_first_fifty_come_back_and_then_about_half_are_swapped():
  pool = empty_pool((2, 2, 3))
  pool, first = push(pool, numbered(0, 50), jax.random.key(0))
  np.testing.assert_array_equal(first, numbered(0, 50))
  new = numbered(50, 400)
  pool, shown = push(pool, new, jax.random.key(1))
  swapped = int(np.sum(np.any(np.asarray(shown != new), axis=(1, 2, 3))))
  assert abs(swapped - 200) < 4 * 10  # four deviations of 400 coins
  # Nothing is made up: what was shown and what is held are images that were put in, none held twice.
  held = pool.images[:, 0, 0, 0].tolist()
  assert len(set(held)) == 50 and set(shown[:, 0, 0, 0].tolist()) <= set(range(450))
  assert not set(held) & {float(x) for x in shown[:, 0, 0, 0] if x < 50}  # what was taken out is gone


def test_no_gradient_flows_through_it():
  pool = empty_pool((1, 1, 3), size=2)

  def loss(images):
    return jnp.sum(push_and_sample(pool, images, jax.random.key(0))[1] ** 2)

  assert not np.any(jax.grad(loss)(jnp.ones((3, 1, 1, 3))))


def test_replicas_have_pools_of_their_own():
  pools = jax.vmap(lambda _: empty_pool((2, 2, 3), size=3))(jnp.arange(2))
  images = jnp.stack([numbered(0, 8), numbered(100, 8)])
  keys = jax.random.split(jax.random.key(5))
  both = jax.vmap(push_and_sample)(pools, images, keys)

  def of(tree, i):
    return jax.tree.map(lambda x: x[i], tree)

  for i in range(2):
    alone = push(of(pools, i), images[i], keys[i])
    jax.tree.map(np.testing.assert_array_equal, of(both, i), alone)


def test_sizes_that_cannot_be_are_refused_and_no_pool_gives_back_what_it_gets():
  pool, shown = push(empty_pool((2, 2, 3), size=0), numbered(0, 4), jax.random.key(0))
  np.testing.assert_array_equal(shown, numbered(0, 4))
  with pytest.raises(ValueError, match="size is -1"):
    empty_pool((2, 2, 3), size=-1)
  with pytest.raises(ValueError, match=r"holds images \[2, 2, 3\], these are images \[3, 2, 3\]"):
    push_and_sample(empty_pool((2, 2, 3)), jnp.zeros((1, 3, 2, 3)), jax.random.key(0))


def test_what_belongs_together_stays_together():
  """Entries of several arrays are pooled as one array that holds both."""
  n, keys = 4, [jax.random.key(t) for t in range(5)]
  plain = empty_pool((2, 2, 3), size=5)
  both = empty_pool_like({"image": numbered(0, n), "number": jnp.zeros((n, 1), jnp.int32)}, size=5)
  for t, key in enumerate(keys):
    images = numbered(n * t, n)
    plain, shown = push(plain, images, key)
    both, out = push(both, {"image": images, "number": images[:, 0, 0, :1].astype(jnp.int32)}, key)
    np.testing.assert_array_equal(out["image"], shown)
    np.testing.assert_array_equal(out["number"][:, 0], shown[:, 0, 0, 0])
  with pytest.raises(
    ValueError, match=r"the pool holds images/image \[2, 2, 3\], images/number \[1\], these"
  ):
    push_and_sample(both, {"image": numbered(0, n)}, keys[0])
