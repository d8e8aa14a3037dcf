"""The warm-up makes the average a plain mean, then the decay is constant; weights between two networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optim.table import assert_close, small_params
from vita_jax.optim.ema import ema_decay, ema_update, interpolate_weights


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


def test_weights_between_two_networks():
  a, b = small_params(0), small_params(1)
  for alpha, expected in ((0.0, a), (1.0, b)):
    for found, x in zip(
      jax.tree.leaves(interpolate_weights(a, b, alpha)), jax.tree.leaves(expected), strict=True
    ):
      np.testing.assert_array_equal(found, x)
  found = jax.jit(interpolate_weights)(a, b, 0.25)
  assert_close(found, jax.tree.map(lambda x, y: 0.75 * x + 0.25 * y, a, b))
  halves = jax.tree.map(lambda x: x.astype(jnp.bfloat16), a)
  assert interpolate_weights(halves, b, 0.5)["b"].dtype == jnp.bfloat16


@pytest.mark.parametrize(
  ("a", "b", "alpha", "message"),
  [
    ({"w": 1.0}, {"v": 1.0}, 0.5, "the two trees of weights differ: only one has 'v'"),
    (
      {"w": jnp.ones(2)},
      {"w": jnp.ones(3)},
      0.5,
      r"'w' has shape \(2,\) in one tree and \(3,\) in the other",
    ),
    ({"w": jnp.arange(2)}, {"w": jnp.arange(2)}, 0.5, "'w' is of int32: only floating weights"),
    ({"w": jnp.ones(2)}, {"w": jnp.ones(2)}, 1.5, "^alpha is 1.5: it must be a finite number, from 0 to 1"),
  ],
)
def test_trees_that_do_not_fit_are_refused(a, b, alpha, message):
  with pytest.raises(ValueError, match=message):
    interpolate_weights(a, b, alpha)
