"""What an adversarial logo minimises beside the detector's best score: how rough the rendered logo is."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vita_jax.losses.printability import total_variation


def roughness(logos: jax.Array, *, weight: float, floor: float) -> jax.Array:
  """Returns max(weight TV, floor) of rendered logos on black [n, S, S, 3], averaged over pictures.

  The floor is the released code's: below it smoothness is not asked for.
  """
  return jnp.maximum(weight * jnp.mean(total_variation(logos)), floor)
