"""Mixing weights, their gradients, and the rule that makes a cell discrete."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.search import mixing_weights, strongest
from vita_jax.search.mixture import node_edges


def test_gumbel_weights_are_one_hot_with_the_gradient_of_the_softmax():
  alpha, key, values = jnp.array([0.3, -1.0, 0.7]), jax.random.key(2), jnp.array([1.0, 5.0, -2.0])

  def mixed(alpha):
    return mixing_weights(alpha, kind="gumbel", key=key, tau=0.7) @ values

  hard = mixing_weights(alpha, kind="gumbel", key=key, tau=0.7)
  np.testing.assert_allclose(np.sort(hard), [0, 0, 1], atol=1e-6)

  def soft(alpha):
    noise = jax.random.gumbel(key, alpha.shape)
    return jax.nn.softmax((jax.nn.log_softmax(alpha) + noise) / 0.7) @ values

  np.testing.assert_allclose(jax.grad(mixed)(alpha), jax.grad(soft)(alpha), atol=1e-6)


def test_gumbel_draws_operations_as_often_as_the_softmax_says():
  alpha = jnp.array([0.0, 1.0, 2.0])
  keys = jax.random.split(jax.random.key(0), 4000)
  drawn = jax.vmap(lambda key: mixing_weights(alpha, kind="gumbel", key=key))(keys)
  np.testing.assert_allclose(drawn.mean(axis=0), jax.nn.softmax(alpha), atol=0.03)


def test_a_discrete_cell_has_two_edges_a_node_and_never_the_zero():
  alpha = jax.random.normal(jax.random.key(0), (5, 6, 8)).at[..., 0].add(10.0)  # zero is the likeliest
  found = np.asarray(strongest(alpha))
  for start, end in node_edges(6):
    assert ((found[:, start:end] > 0).sum(axis=1) == min(2, end - start)).all()
  weights = np.asarray(jax.nn.softmax(alpha))[..., 1:]
  best = weights.max(axis=-1)[0, 3:6]
  assert found[0, 3 + int(best.argmin())] == 0  # the weakest of three edges goes
  kept = np.flatnonzero(found[0])
  np.testing.assert_array_equal(found[0, kept], 1 + weights[0, kept].argmax(axis=-1))


def test_edges_that_make_no_cell_and_gumbel_without_a_key_are_refused():
  with pytest.raises(ValueError, match="M \\(M \\+ 1\\) / 2"):
    strongest(jnp.zeros((4, 3)))
  with pytest.raises(ValueError, match="give a key"):
    mixing_weights(jnp.zeros(3), kind="gumbel")
