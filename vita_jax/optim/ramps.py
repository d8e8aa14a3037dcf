"""Weights and rates that follow the epoch; epochs may be traced."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp


def ramp_up(epoch: Any, *, peak: float = 0.3, length: float = 400.0, shift: float = 30.0) -> Any:
  """Computes a sigmoid-shaped ramp, λ(e) = peak exp(-5 (1 - clip(e - shift, 0, length) / length)^2)."""
  done = jnp.clip(epoch - shift, 0.0, length) / length
  return peak * jnp.exp(-5.0 * jnp.square(1.0 - done))


def cosine_rate(epoch: Any, *, peak: float, epochs: int, ahead: bool = False) -> Any:
  """Computes the rate peak (1 + cos(π e / epochs)) / 2; `ahead` takes e + 1 (as released)."""
  return 0.5 * peak * (1.0 + jnp.cos(jnp.pi * (epoch + int(ahead)) / epochs))
