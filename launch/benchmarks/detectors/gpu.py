"""NanoDet on a GPU or TPU, for `make gpu`: forward and backward to its pictures."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.one_step import Step
from vita_jax.losses.detection import best_score
from vita_jax.nn import detectors


def steps(*, small: bool) -> list[Step]:
  """Returns the steps; `small`: two pictures, for a CPU."""
  pictures = 2 if small else 16
  name = f"detectors, NanoDet forward and backward, {pictures} pictures"
  return [Step(name, functools.partial(_make, pictures))]


def _make(pictures: int) -> tuple:
  detector = detectors.load("nanodet")

  def loss(images: jax.Array, variables: Any) -> jax.Array:
    return jnp.mean(best_score(detector.scores(variables, images)))

  def step(images: jax.Array, variables: Any, t: jax.Array) -> tuple[Any, dict]:
    return images - 1e-2 * jax.grad(loss)(images, variables), {}

  shape = (pictures, detector.size, detector.size, 3)
  return step, jax.random.uniform(jax.random.key(0), shape), detector.variables
