"""Roughness and its floor."""

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.papers.adv_logo.losses import roughness


def test_roughness_counts_above_its_floor_only():
  step = jnp.zeros((1, 64, 64, 3)).at[:, :, 32:].set(1.0)
  at = {"weight": 2.5, "floor": 0.1}
  assert float(roughness(step, **at)) == np.float32(0.1)  # 2.5 / 64 is below the floor
  noise = jax.random.uniform(jax.random.key(0), (1, 64, 64, 3))
  np.testing.assert_allclose(roughness(noise, **at), 2.5 * 2 / 3, rtol=0.02)
  assert not np.asarray(jax.grad(lambda x: roughness(x, **at))(step)).any()
