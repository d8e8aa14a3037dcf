"""Noise that stays with a record, and with nothing but the record."""

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.nn.record_noise import record_noise


def test_a_record_has_one_draw_of_noise_however_often_it_is_asked():
  x, codes = jax.random.normal(jax.random.key(0), (2000, 3)), jnp.arange(2000)[:, None] % 3
  seed = jax.random.key_data(jax.random.key(1))
  record = jax.jit(record_noise, static_argnums=3)
  noise = record(seed, x, codes, 2)
  again = np.mean([record(seed, x[::-1], codes[::-1], 2)[::-1] for _ in range(3)], axis=0)
  np.testing.assert_allclose(again, noise, atol=1e-6)  # averaging takes nothing off
  assert abs(float(noise.std()) - 1) < 0.05 and abs(float(noise.mean())) < 0.05
  assert abs(np.corrcoef(noise.T)[0, 1]) < 0.08
  for other in (record(jax.random.key_data(jax.random.key(2)), x, codes, 2), record(seed, x, codes + 1, 2)):
    assert abs(np.corrcoef(noise[:, 0], other[:, 0])[0, 1]) < 0.08
  variants = jnp.tile(x[:1], (500, 1)).at[:, 0].add(1e-4 * jnp.arange(500))  # near-copies: new draws each
  several = np.asarray(record(seed, variants, codes[:500] * 0, 2))
  assert np.abs(several.mean(0)).max() < 0.2 and several.std() > 0.8  # which averaging does take off
  odd = np.zeros((2000, 3), np.float32)
  odd[:4, 0] = [0.0, -0.0, np.nan, -np.nan]
  drawn = record(seed, odd, codes * 0, 2)
  for one, other in ((0, 1), (2, 3)):
    np.testing.assert_array_equal(drawn[one], drawn[other])
  assert np.any(drawn[0] != drawn[2])
