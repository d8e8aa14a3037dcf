"""Adversarial losses of a generator and a discriminator, on score maps or on the mean score of each image.

A discriminator gives scores D [n] or [n, ...], without sigmoid; a large one means "real". Of each kind

    kind              generator                 discriminator
    "least_squares"   mean (D(fake) - 1)^2      1/2 [mean (D(real) - 1)^2   + mean D(fake)^2]
    "hinge"           mean -D(fake)             1/2 [mean max(0, 1 - D(real)) + mean max(0, 1 + D(fake))]
    "non_saturating"  mean log(1 + e^-D(fake))  1/2 [mean log(1 + e^-D(real)) + mean log(1 + e^D(fake))]

The half before the discriminator's is that of CycleGAN's code, for all kinds. Sources: least squares, Mao et
al. (ICCV 2017); hinge, Lim and Ye (arXiv 1705.02894); non-saturating, Goodfellow et al. (NeurIPS 2014).

Gradients flow through whatever made the scores. So the caller decides who learns: for the generator's loss
D's parameters are held fixed by differentiating in the generator's alone; for the discriminator's the fake
images come from `jax.lax.stop_gradient` (`data.image_pool` does so).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vita_jax.base.choose import choose
from vita_jax.losses.xent import weighted_mean

KINDS = ("least_squares", "hinge", "non_saturating")
UNITS = ("places", "images")


def generator_loss(
  fake: jax.Array, *, kind: str = "least_squares", unit: str = "places", weights: jax.Array | None = None
) -> jax.Array:
  """Computes what a generator minimises: its images should score as real ones.

  Args:
    fake: scores of its images, float [n] or [n, ...].
    kind: one of `KINDS`, see the module.
    unit: "places": every place of a score map is a verdict of its own (PatchGAN, as CycleGAN has it);
      "images": the verdict is the mean of an image's map (as GAN Slimming has it).
    weights: 0/1 [n], padded rows 0; None: all count.

  Returns:
    A scalar.

  Raises:
    ValueError: an unknown kind or unit.

  Examples:
    >>> score_map = jnp.full((2, 3, 3, 1), 0.5)
    >>> float(generator_loss(score_map)), float(generator_loss(score_map, kind="hinge"))
    (0.25, -0.5)
  """
  scores = _scores(fake, unit)
  choose("kind of GAN loss", kind, KINDS)
  return _mean(-scores if kind == "hinge" else _real(scores, kind), weights)


def discriminator_loss(
  real: jax.Array,
  fake: jax.Array,
  *,
  kind: str = "least_squares",
  unit: str = "places",
  real_weights: jax.Array | None = None,
  fake_weights: jax.Array | None = None,
) -> jax.Array:
  """Computes what a discriminator minimises: half the loss on real images plus half that on generated ones.

  Args:
    real: scores of real images, float [n] or [n, ...].
    fake: scores of generated images, [m] or [m, ...]; made from images without gradient, see the module.
    kind: as in `generator_loss`.
    unit: as in `generator_loss`.
    real_weights: 0/1 [n]; None: all count.
    fake_weights: 0/1 [m]; None: all count.

  Returns:
    A scalar.

  Raises:
    ValueError: an unknown kind or unit.

  Examples:
    >>> score_map = jnp.full((2, 3, 3, 1), 0.5)
    >>> float(discriminator_loss(score_map, score_map))
    0.25
  """
  choose("kind of GAN loss", kind, KINDS)
  on_real = _mean(_real(_scores(real, unit), kind), real_weights)
  on_fake = _mean(_fake(_scores(fake, unit), kind), fake_weights)
  return 0.5 * (on_real + on_fake)


def _scores(scores: jax.Array, unit: str) -> jax.Array:
  choose("unit", unit, UNITS)
  scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
  return jnp.mean(scores.reshape(len(scores), -1), axis=1) if unit == "images" else scores


def _real(scores: jax.Array, kind: str) -> jax.Array:
  """The loss of scores that should be those of real images."""
  if kind == "least_squares":
    return jnp.square(scores - 1.0)
  return jax.nn.relu(1.0 - scores) if kind == "hinge" else jax.nn.softplus(-scores)


def _fake(scores: jax.Array, kind: str) -> jax.Array:
  """The loss of scores that should be those of generated images."""
  if kind == "least_squares":
    return jnp.square(scores)
  return jax.nn.relu(1.0 + scores) if kind == "hinge" else jax.nn.softplus(scores)


def _mean(losses: jax.Array, weights: jax.Array | None) -> jax.Array:
  if weights is None:
    return jnp.mean(losses)
  return weighted_mean(jnp.mean(losses.reshape(len(losses), -1), axis=1), weights)
