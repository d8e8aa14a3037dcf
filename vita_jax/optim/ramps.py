"""Weights and rates that follow the epoch; epochs may be traced."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from vita_jax.base.keys import above, at_least
from vita_jax.optim.leaves import COUNT, check_number


def ramp_up(epoch: Any, *, peak: float = 0.3, length: float = 400.0, shift: float = 30.0) -> Any:
  """Computes a sigmoid-shaped ramp, λ(e) = peak exp(-5 (1 - clip(e - shift, 0, length) / length)^2).

  Raises:
    ValueError: a negative peak or shift, or a length that is not above 0.
  """
  for name, value, rule in (
    ("peak", peak, at_least(0)),
    ("shift", shift, at_least(0)),
    ("length", length, above(0)),
  ):
    check_number(name, value, rule)
  done = jnp.clip(epoch - shift, 0.0, length) / length
  return peak * jnp.exp(-5.0 * jnp.square(1.0 - done))


def cosine_rate(epoch: Any, *, peak: float, epochs: int, ahead: bool = False) -> Any:
  """Computes the rate peak (1 + cos(π e / epochs)) / 2; `ahead` takes e + 1 (as released).

  Raises:
    ValueError: a negative peak, or `epochs` that are no whole number from 1 on.
  """
  check_number("peak", peak, at_least(0))
  check_number("epochs", epochs, COUNT)
  return 0.5 * peak * (1.0 + jnp.cos(jnp.pi * (epoch + int(ahead)) / epochs))
