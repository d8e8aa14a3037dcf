"""How far two hand poses are apart: the angle between their bones, and the poses that are nearest to one."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.choose import choose
from vita_jax.pose.skeletons import HAND

CHAINS = ("tree", "index")


@functools.partial(jax.jit, static_argnames="chain")
def pose_distance(a: Any, b: Any, *, chain: str = "tree") -> jax.Array:
  """Computes the angle between two poses over pi, in [0, 1].

  A pose is the vector of its 20 bones, 60 numbers; with unit vectors p and q of the two,

      d = 2 / pi * atan2(|p - q|, |p + q|),

  which is arccos(p . q) / pi, stable at 0 and 1 too. It does not see scale and place, but the orientation of
  the whole hand. (MM-Hand, arXiv 2010.01158: the geometry-based curriculum.)

  Args:
    a: [..., 21, 3], joints in the order of `HAND`, in any unit.
    b: [..., 21, 3]; leading axes are broadcast.
    chain: "tree": a bone goes from a joint to the next of its finger, 20 edges; "index": from joint i - 1 to
      joint i, as the released code of the paper has it, so that some go from a fingertip to the next finger.

  Returns:
    float32 [...]. A pose without extent is 1/2 away from every other.

  Examples:
    >>> pose = jnp.arange(63.0).reshape(21, 3) ** 2
    >>> [round(float(pose_distance(pose, sign * pose)), 6) for sign in (1, 3, -1)]
    [0.0, 0.0, 1.0]
  """
  p, q = (bones(x, chain=chain) for x in (a, b))
  apart, along = (jnp.sqrt(jnp.sum(jnp.square(x), axis=-1)) for x in (p - q, p + q))
  return jnp.where(apart + along > 0, 2 / jnp.pi * jnp.arctan2(apart, along), 0.5)


def bones(pose: Any, *, chain: str = "tree") -> jax.Array:
  """Computes the 20 bones of poses [..., 21, 3] as one unit vector each, float32 [..., 60].

  Raises:
    ValueError: an unknown chain, or poses of another shape.
  """
  choose("chain", chain, CHAINS)
  pose = jnp.asarray(pose, jnp.float32)
  if pose.shape[-2:] != (HAND.n_keypoints, 3):
    raise ValueError(f"poses are [..., {HAND.n_keypoints}, 3], these are {list(pose.shape)}")
  ends = np.array(HAND.limbs) if chain == "tree" else np.stack([np.arange(20), np.arange(1, 21)], axis=1)
  found = (pose[..., ends[:, 1], :] - pose[..., ends[:, 0], :]).reshape(*pose.shape[:-2], 60)
  length = jnp.sqrt(jnp.sum(jnp.square(found), axis=-1, keepdims=True))
  return jnp.where(length > 0, found / jnp.where(length > 0, length, 1.0), 0.0)


def nearest(
  poses: Any, query: Any, k: int, *, chain: str = "tree", block: int = 1024
) -> tuple[jax.Array, jax.Array]:
  """Finds the k poses that are nearest to each query, exactly.

  Args:
    poses: [n, 21, 3].
    query: [m, 21, 3].
    k: how many, at most n.
    chain: see `pose_distance`.
    block: queries at a time: [block, n] cosines are in memory.

  Returns:
    (distances float32 [m, k], rising; indices int32 [m, k] of `poses`).

  Raises:
    ValueError: k that is not in 1 .. n.

  Examples:
    >>> poses = jax.random.normal(jax.random.key(0), (5, 21, 3))
    >>> distances, places = nearest(poses, poses[3:], 2)
    >>> places[:, 0].tolist(), distances.shape
    ([3, 4], (2, 2))
  """
  n, m = len(poses), len(query)
  if not 1 <= k <= n:
    raise ValueError(f"k is {k}, and there are {n} poses: give a number from 1 to {n}")
  known, asked = bones(poses, chain=chain), bones(query, chain=chain)
  block = min(block, max(m, 1))
  padded = jnp.pad(asked, ((0, -m % block), (0, 0))).reshape(-1, block, asked.shape[-1])
  places = _closest(known, padded, k).reshape(-1, k)[:m]
  return pose_distance(jnp.asarray(query)[:, None], jnp.asarray(poses)[places], chain=chain), places


@functools.partial(jax.jit, static_argnames="k")
def _closest(known: jax.Array, asked: jax.Array, k: int) -> jax.Array:
  """The rows of `known` with the k largest cosines for each of `asked` [blocks, block, 60]."""

  def of_block(block: jax.Array) -> jax.Array:
    return jax.lax.top_k(jnp.matmul(block, known.T, precision=jax.lax.Precision.HIGHEST), k)[1]

  return jax.lax.map(of_block, asked)
