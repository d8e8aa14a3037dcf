"""PES against an exact meta-gradient: a quadratic, on which the antithetic estimate has no bias at all."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vita_jax.optim import pes
from vita_jax.optim.segment import self_training

SEGMENTS, STEPS, SIGMA = 3, 2, 0.1
X, A = jnp.array([1.0, -2.0]), jnp.array([3.0, 0.5])


def _build(theta):
  """Moves by theta itself: the iterates are linear in theta, and the loss is quadratic in it."""
  return optax.stateless(lambda g, params: theta)


def _loss(x, key):
  del key
  return 0.5 * jnp.sum(A * x * x)


def _exact(theta):
  """dL/dtheta of the losses of all segments, through all of them."""

  def total(theta):
    ends = [X + n * theta for n in range(SEGMENTS * STEPS + 1)]
    values = [_loss(x, None) for x in ends]
    return sum(sum(values[k * STEPS : (k + 1) * STEPS + 1]) for k in range(SEGMENTS))

  return jax.grad(total)(theta)


def _estimate(theta, signs):
  state = _build(theta).init(X)
  plus = minus = (X, state)
  noise, total = jnp.zeros(2), jnp.zeros(2)
  keys = jax.random.split(jax.random.key(0), STEPS + 1)
  for step in signs:
    found = pes.persistent(
      _build, theta, _loss, plus, minus, noise, keys, step=SIGMA * jnp.array(step), sigma=SIGMA
    )
    plus, minus, noise = found.plus, found.minus, found.noise
    total += found.gradient
  return total


def test_the_mean_over_all_perturbations_is_the_exact_meta_gradient():
  """Signs instead of normal numbers have the same first moments; all of them can be listed."""
  theta = jnp.array([0.3, -0.1])
  draws = jnp.array(list(itertools.product(itertools.product((-1.0, 1.0), repeat=2), repeat=SEGMENTS)))
  found = jax.jit(jax.vmap(lambda signs: _estimate(theta, signs)))(draws)
  np.testing.assert_allclose(found.mean(0), _exact(theta), rtol=1e-4)
  # The truncated gradient of the same segments is another one: it forgets what earlier segments did.
  x, truncated = X, 0.0
  for _ in range(SEGMENTS):
    keys = jax.random.split(jax.random.key(0), STEPS + 1)
    segment = self_training(_build, theta, _loss, x, _build(theta).init(X), keys)
    x, truncated = segment.x, truncated + segment.gradient
  assert np.all(np.abs(truncated - _exact(theta)) > 0.1 * np.abs(_exact(theta)))


def test_perturbations_are_normal_with_their_deviation():
  draws = jax.vmap(lambda k: pes.perturbation(k, {"w": jnp.zeros((3, 4)), "b": jnp.zeros(2)}, 0.5))(
    jax.random.split(jax.random.key(0), 2000)
  )
  flat = np.concatenate([np.asarray(x).reshape(2000, -1) for x in jax.tree.leaves(draws)], 1)
  np.testing.assert_allclose(flat.mean(0), 0.0, atol=0.05)
  np.testing.assert_allclose(np.cov(flat.T), 0.25 * np.eye(14), atol=0.03)
