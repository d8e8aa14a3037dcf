"""The warm-up makes the average a plain mean; after it, the decay is constant."""

import jax.numpy as jnp
import numpy as np

from vita_jax.optim.ema import ema_decay, ema_update


def test_the_average_is_the_mean_of_all_snapshots_whatever_it_started_from():
  snapshots = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
  average = {"w": jnp.full(3, 1e3), "b": jnp.zeros(3, jnp.bfloat16)}
  for k, x in enumerate(snapshots):
    average = ema_update(average, {"w": jnp.asarray(x), "b": jnp.ones(3)}, jnp.int32(k))
  np.testing.assert_allclose(average["w"], snapshots.mean(0), atol=1e-6)
  assert average["b"].dtype == jnp.bfloat16


def test_the_decay():
  found = [float(ema_decay(jnp.int32(k))) for k in (0, 1, 9, 998, 999, 5000)]
  np.testing.assert_allclose(found, [0, 0.5, 0.9, 1 - 1 / 999, 0.999, 0.999], rtol=1e-6)
  assert float(ema_decay(jnp.int32(50), max_decay=0.9)) == np.float32(0.9)
