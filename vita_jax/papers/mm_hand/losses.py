"""What a generator minimises beside its judges' opinion; pictures are in [-1, 1]."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from vita_jax.losses.distil import absolute_distance, squared_distance

Maps = Mapping[str, jax.Array]


def reconstruction(made: jax.Array, truth: jax.Array, hand: jax.Array | None = None) -> jax.Array:
  """Computes mean |G - truth|; with `hand` [n, S, S, 1], 1 on the hand, mean (1 + hand) |G - truth| (PG2)."""
  if hand is None:
    return absolute_distance(made, truth)
  return jnp.mean((1.0 + hand) * jnp.abs(made - truth))


def perceptual(
  maps: Callable[[jax.Array], Maps], made: jax.Array, truth: jax.Array, *, distance: str = "l1"
) -> jax.Array:
  """Computes the sum over maps of the mean |F(G) - F(truth)|, or of squares ("mse").

  No gradient reaches the truth or the network.
  """
  compare = absolute_distance if distance == "l1" else squared_distance
  ours, theirs = maps(made), maps(jax.lax.stop_gradient(truth))
  return sum((compare(ours[name], theirs[name]) for name in ours), start=jnp.zeros(()))


def pose_distance_in(joints: jax.Array, uv: jax.Array, size: int) -> jax.Array:
  """Computes the mean distance of joints [n, 21, 2] to the pose, in sides of the picture."""
  squares = jnp.sum(jnp.square(joints - uv), axis=-1)
  return jnp.mean(jnp.sqrt(squares + 1e-12)) / size  # the root's slope at 0 is infinite
