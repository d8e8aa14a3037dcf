"""The two forms of a convolution agree; pools and norms are their formulas."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.nn import conv

X = np.random.default_rng(0).normal(size=(2, 11, 10, 3)).astype(np.float32)


@pytest.mark.parametrize("padding", ["VALID", "SAME"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_patches_give_what_the_library_gives_and_so_do_their_gradients(size, stride, padding):
  w = jnp.asarray(np.random.default_rng(1).normal(size=(size, size, 3, 4)), jnp.float32)

  def total(form, x, w):
    y = form(x, w, stride=stride, padding=padding)
    return jnp.sum(jnp.sin(y)), y

  forms = (conv.conv2d, conv.library_conv2d, conv.patches_conv2d)
  each = [jax.value_and_grad(functools.partial(total, form), (0, 1), has_aux=True) for form in forms]
  found = jax.jit(lambda x, w: [f(x, w) for f in each])(X, w)
  for ours in found[:1] + found[2:]:
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(found[1]), strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_pools_are_maxima_and_means():
  np.testing.assert_array_equal(conv.max_pool(X, 2)[0, 1, 3], X[0, 2:4, 6:8].max((0, 1)))
  assert conv.max_pool(X, 2).shape == (2, 5, 5, 3)
  means = conv.average_pool_same(jnp.asarray(X), 3)
  np.testing.assert_allclose(means[1, 4, 5], X[1, 3:6, 4:7].mean((0, 1)), rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(means[1, 0, 0], X[1, :2, :2].mean((0, 1)), rtol=1e-5, atol=1e-6)


def test_batch_norm_is_its_formula():
  y = conv.batch_norm(jnp.asarray(X), jnp.arange(1.0, 4.0), jnp.array([0.0, 1.0, -1.0]), epsilon=1e-3)
  x = np.float64(X)
  expected = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-3) * [1, 2, 3] + [0, 1, -1]
  np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_unknown_padding_is_refused():
  with pytest.raises(ValueError, match="'VALID' or 'SAME'"):
    conv.conv2d(X, jnp.zeros((3, 3, 3, 4)), padding="valid")
