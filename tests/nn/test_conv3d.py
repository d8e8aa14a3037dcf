"""3-D convolution by patches is that of the library; pooling by axes is that by windows."""

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.nn import conv3d

RANDOM = np.random.default_rng(0)
X = jnp.asarray(RANDOM.normal(size=(2, 7, 6, 5, 3)), jnp.float32)
W = jnp.asarray(RANDOM.normal(size=(3, 3, 3, 3, 4)), jnp.float32)


def test_patches_give_what_the_library_gives_and_so_do_their_gradients():
  def total(form, x, w):
    y = form(x, w)
    return jnp.sum(jnp.sin(y)), y

  forms = (conv3d.patches_conv3d, conv3d.library_conv3d)
  found = [jax.value_and_grad(lambda x, w, f=f: total(f, x, w), (0, 1), has_aux=True)(X, W) for f in forms]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3), *found)
  padded = conv3d.conv3d(X, W, padding=1)
  assert padded.shape == (2, 7, 6, 5, 4)
  np.testing.assert_allclose(padded[:, 1:-1, 1:-1, 1:-1], found[1][0][1], rtol=1e-4, atol=1e-4)


def test_pooling_is_that_by_windows():
  pooled = conv3d.max_pool3d(X)
  padding = [(0, 0), *[(1, 1)] * 3, (0, 0)]
  expected = jax.lax.reduce_window(X, -jnp.inf, jax.lax.max, (1, 3, 3, 3, 1), (1, 2, 2, 2, 1), padding)
  assert pooled.shape == (2, 4, 3, 3, 3)
  np.testing.assert_array_equal(pooled, expected)
