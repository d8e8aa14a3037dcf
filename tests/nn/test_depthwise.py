"""The gradient in a depthwise kernel is the library's, however many images are summed at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.nn import depthwise
from vita_jax.nn.conv import convolve


@pytest.mark.parametrize("block", [1, 250, 10**6])  # one image at a time; two of six; all
@pytest.mark.parametrize(
  ("shape", "kernel", "options"),
  [
    ((7, 6), (5, 5), {"padding": 2}),
    ((7, 6), (3, 3), {"padding": "SAME", "stride": 2}),
    ((9, 8), (3, 3), {"padding": ((2, 1), (0, 2)), "stride": (3, 2), "dilation": (1, 2)}),
    ((12,), (4,), {"padding": 1, "stride": 2}),
    ((4, 3, 5), (3, 1, 2), {"stride": (1, 1, 2)}),
  ],
)
def test_it_is_the_librarys_gradient(monkeypatch, shape, kernel, options, block):
  monkeypatch.setattr(depthwise, "BLOCK", block)
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.normal(size=(6, *shape, 3)), jnp.float32)
  w = jnp.asarray(rng.normal(size=(*kernel, 1, 3)), jnp.float32)

  def loss(w, form):
    return jnp.sum(jnp.sin(convolve(x, w, groups=3, form=form, **options)))

  # Traced anew, since the size of a block is no argument.
  found, wanted = (jax.jit(jax.grad(lambda w, form=form: loss(w, form)))(w) for form in ("shifted", "native"))
  np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * float(jnp.abs(wanted).max()))


def test_several_kernels_at_once_are_those_one_by_one():
  x = jax.random.normal(jax.random.key(0), (2, 5, 5, 3))
  w = jax.random.normal(jax.random.key(1), (4, 3, 3, 1, 3))
  slope = jax.grad(lambda w: jnp.sum(jnp.sin(convolve(x, w, padding=1, groups=3))))
  every = jax.vmap(slope)(w)
  np.testing.assert_allclose(every[2], slope(w[2]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("n", "most", "size"), [(32, 7, 4), (32, 100, 32), (7, 6, 1), (6, 0, 1)])
def test_blocks_are_of_equal_size(n, most, size):
  assert depthwise._divisor(n, most) == size
