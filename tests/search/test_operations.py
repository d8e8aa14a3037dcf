"""The operations keep the shape, cost what is counted, and pool as they say."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.compress import count_parameters, traced_macs
from vita_jax.search import OPERATIONS, Operation, operation_macs
from vita_jax.search.operations import mean_of_neighbours, operation_parameters


@pytest.mark.parametrize("kind", OPERATIONS)
def test_an_operation_keeps_the_shape_and_costs_what_is_counted(kind):
  net, x = Operation(kind, form="native"), jnp.ones((1, 6, 5, 4))
  variables = jax.eval_shape(functools.partial(net.init, train=True), jax.random.key(0), x)
  run = functools.partial(net.apply, variables, train=False)
  variables = jax.tree.map(lambda v: jnp.zeros(v.shape), variables)
  run = functools.partial(net.apply, variables, train=False)
  assert jax.eval_shape(run, x).shape == x.shape
  assert traced_macs(run, x) == operation_macs(kind, 4, 30)
  assert count_parameters(variables.get("params", {})) == operation_parameters(kind, 4)


def test_average_pooling_does_not_count_what_is_outside():
  x = np.random.default_rng(0).normal(size=(1, 4, 5, 2)).astype(np.float32)
  found = np.asarray(mean_of_neighbours(jnp.asarray(x)))
  for i, j in ((0, 0), (0, 2), (3, 4), (1, 2)):
    window = x[0, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
    np.testing.assert_allclose(found[0, i, j], window.mean(axis=(0, 1)), atol=1e-6)


def test_norms_of_a_search_have_no_parameters():
  x = jnp.ones((1, 4, 4, 4))
  net = Operation("max_pool", affine=False)
  assert "params" not in jax.eval_shape(functools.partial(net.init, train=True), jax.random.key(0), x)
