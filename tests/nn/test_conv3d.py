"""3-D convolution is that of the library; pooling by axes is that by windows."""

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.nn import conv3d

RANDOM = np.random.default_rng(0)
X = jnp.asarray(RANDOM.normal(size=(2, 7, 6, 5, 3)), jnp.float32)
W = jnp.asarray(RANDOM.normal(size=(3, 3, 3, 3, 4)), jnp.float32)


def test_convolution_is_that_of_the_library():
  y = conv3d.conv3d(X, W, padding=1)
  numbers = ("NDHWC", "DHWIO", "NDHWC")
  expected = jax.lax.conv_general_dilated(X, W, (1, 1, 1), [(1, 1)] * 3, dimension_numbers=numbers)
  np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-3)


def test_pooling_is_that_by_windows():
  pooled = conv3d.max_pool3d(X)
  padding = [(0, 0), *[(1, 1)] * 3, (0, 0)]
  expected = jax.lax.reduce_window(X, -jnp.inf, jax.lax.max, (1, 3, 3, 3, 1), (1, 2, 2, 2, 1), padding)
  assert pooled.shape == (2, 4, 3, 3, 3)
  np.testing.assert_array_equal(pooled, expected)
