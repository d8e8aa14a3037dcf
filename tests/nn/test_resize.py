"""Resizing: sizes, dtypes, refusals (values beside torch's are in test_layers_parity.py)."""

import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.nn.resize import resize
from vita_jax.nn.rnn import LSTMCell, zero_carry

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 4, 3)), jnp.float32)


def test_a_plane_stays_a_plane():
  rows, columns = jnp.meshgrid(jnp.arange(5.0), jnp.arange(4.0), indexing="ij")
  plane = (2 * rows + columns)[None, ..., None]
  rows, columns = jnp.meshgrid(jnp.linspace(0, 4, 9), jnp.linspace(0, 3, 7), indexing="ij")
  found = resize(plane, (9, 7), align_corners=True)[0, ..., 0]
  np.testing.assert_allclose(found, 2 * rows + columns, atol=1e-5)
  np.testing.assert_allclose(resize(X, (5, 4)), X, atol=1e-6)


def test_nearest_takes_any_dtype_and_keeps_its_values():
  x = jnp.arange(20, dtype=jnp.uint8).reshape(1, 5, 4, 1)
  y = resize(x, (10, 4), method="nearest")
  assert y.dtype == jnp.uint8
  np.testing.assert_array_equal(y[0, :, 0, 0], np.repeat(np.arange(0, 20, 4), 2))


def test_what_does_not_fit_is_refused():
  with pytest.raises(ValueError, match="did you mean 'bilinear'"):
    resize(X, (3, 3), method="linear")
  with pytest.raises(ValueError, match="at least 1"):
    resize(X, (3, 0))
  with pytest.raises(ValueError, match="align_corners is for"):
    resize(X, (3, 3), method="nearest", align_corners=True)


def test_the_documented_scan_of_an_lstm_runs():
  import flax.linen as nn
  import jax

  xs = X[:, :, 0]  # [2, 5, 3]: two steps, five rows
  scan = nn.scan(LSTMCell, variable_broadcast="params", split_rngs={"params": False})(4)
  start = zero_carry(xs[0], 4)
  variables = scan.init(jax.random.key(0), start, xs)
  carry, hidden = scan.apply(variables, start, xs)
  cell = LSTMCell(4)
  for i in range(2):
    start, h = cell.apply(variables, start, xs[i])
    np.testing.assert_allclose(hidden[i], h, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(carry[1], start[1], rtol=1e-5, atol=1e-6)
