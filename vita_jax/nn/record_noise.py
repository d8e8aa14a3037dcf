"""Noise that stays with a record: a function of a secret seed and of the record's inputs."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vita_jax.base.hashing import mix


def record_noise(seed: jax.Array, numbers: jax.Array, codes: jax.Array, n_outputs: int) -> jax.Array:
  """Draws standard normal noise [n, n_outputs] that is a function of `seed` and of each record.

  A record that is encoded again gets the same draw, so that draws of it cannot be averaged away. That holds
  for bit-identical records only: one input changed in its last bit gives another draw, and whoever may have
  many variants of a record encoded can average the noise off. Raw inputs are read, not features, which may
  differ in their last bit from one program to another.

  Args:
    seed: uint32 [2], kept by whoever encodes: who has it can take the noise off.
    numbers: float32 [n, a], raw.
    codes: int32 [n, b].
  """
  bits, codes = (jax.lax.bitcast_convert_type(x, jnp.uint32) for x in (numbers, codes))
  magnitude = bits & jnp.uint32(0x7FFFFFFF)
  bits = jnp.where(magnitude == 0, jnp.uint32(0), bits)  # 0.0 and -0.0 are one number
  bits = jnp.where(magnitude > 0x7F800000, jnp.uint32(0x7FC00000), bits)  # and so are all NaNs
  digest = jnp.zeros(numbers.shape[0], jnp.uint32)
  for column in jnp.concatenate([bits, codes], axis=1).T:
    digest = mix(digest * jnp.uint32(0x9E3779B9) + column)
  key = jax.random.wrap_key_data(seed)
  keys = jax.vmap(lambda d: jax.random.fold_in(key, d))(digest)
  return jax.vmap(lambda k: jax.random.normal(k, (n_outputs,)))(keys)
