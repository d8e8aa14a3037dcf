"""The loop over a depthwise kernel's places is the library's convolution, in value and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.nn.conv import convolve
from vita_jax.nn.depthwise import depthwise


@pytest.mark.parametrize(("size", "rate"), [(3, 1), (5, 1), (3, 2)])
def test_it_is_the_librarys_convolution(size, rate):
  x = jax.random.normal(jax.random.key(0), (2, 7, 6, 3))
  w = jax.random.normal(jax.random.key(1), (size, size, 1, 3))

  def ours(x, w):
    return jnp.sum(jnp.sin(depthwise(x, w, rate=rate)))

  def theirs(x, w):
    pad = rate * (size // 2)
    return jnp.sum(jnp.sin(convolve(x, w, padding=pad, dilation=rate, groups=3, form="native")))

  found, wanted = (jax.jit(jax.value_and_grad(f, argnums=(0, 1)))(x, w) for f in (ours, theirs))
  for a, b in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_several_kernels_at_once_are_those_one_by_one():
  x = jax.random.normal(jax.random.key(0), (2, 5, 5, 3))
  w = jax.random.normal(jax.random.key(1), (4, 3, 3, 1, 3))
  every = jax.vmap(lambda w: depthwise(x, w))(w)
  np.testing.assert_allclose(every[2], depthwise(x, w[2]), atol=1e-6)


def test_even_kernels_are_refused():
  with pytest.raises(ValueError, match="odd k"):
    depthwise(jnp.ones((1, 4, 4, 2)), jnp.ones((2, 2, 1, 2)))
