"""The analytical optimizers that are imitated, as the released code (TensorFlow 1) has them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from vita_jax.base.choose import choose


def teacher(name: str, learning_rate: float) -> optax.GradientTransformation:
  """Builds "adam", "rmsprop" or "nag" as an optax transformation.

  Adam has its epsilon 1e-8 outside the bias correction:
  step = -lr sqrt(1 - b2^t)/(1 - b1^t) m/(sqrt(v) + eps). RMSprop has decay 0.9, its epsilon 1e-10 inside the
  root, and starts from mean squares of one. NAG has momentum 0.9.

  Raises:
    ValueError: unknown name.
  """
  choose("teacher", name, TEACHERS)
  if name == "adam":
    return optax.chain(_scale_by_tf1_adam(), optax.scale(-learning_rate))
  if name == "rmsprop":
    by_root = optax.scale_by_rms(decay=0.9, eps=1e-10, initial_scale=1.0, eps_in_sqrt=True)
    return optax.chain(by_root, optax.scale(-learning_rate))
  return optax.chain(optax.trace(decay=0.9, nesterov=True), optax.scale(-learning_rate))


TEACHERS = ("adam", "rmsprop", "nag")


def _scale_by_tf1_adam(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> optax.GradientTransformation:
  def init(params):
    zeros = jax.tree.map(jnp.zeros_like, params)
    return optax.ScaleByAdamState(jnp.zeros((), jnp.int32), zeros, zeros)

  def update(updates, state, params=None):
    del params
    count = optax.safe_increment(state.count)
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, updates)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.nu, updates)
    t = count.astype(jnp.float32)
    rate = jnp.sqrt(1 - b2**t) / (1 - b1**t)
    return jax.tree.map(lambda m, v: rate * m / (jnp.sqrt(v) + eps), m, v), optax.ScaleByAdamState(
      count, m, v
    )

  return optax.GradientTransformation(init, update)
