"""The families of small problems: each can be learned, and none is trivial."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vita_jax.data import load_images
from vita_jax.optim import Optimizee, optimize, optimizee
from vita_jax.optim.families import DIMENSION, FAMILIES, quadratic_loss, sample_sequences


@pytest.mark.parametrize("name", FAMILIES)
def test_adam_lowers_the_loss_of_every_family(name):
  problem = optimizee(name)
  arrays = jax.tree.map(jnp.asarray, load_images("digits").train) if problem.data else {}

  def loss(x, key):
    return problem.loss(x, problem.sample(arrays, key, 64))

  def run(key):
    return optimize(optax.adam(0.01), loss, problem.init(key), key, steps=150)[1]

  losses = jax.jit(run, compiler_options={"xla_backend_optimization_level": 0})(jax.random.key(0))
  assert losses.dtype == jnp.float32 and np.isfinite(losses).all()
  assert losses[-10:].mean() < 0.95 * losses[:3].mean()
  if name not in ("family_quadratic", "family_factorisation"):
    assert 2.0 < losses[0] < 8.0  # about the logarithm of 10 or 16 classes, and more from large weights


def test_sequences_are_of_order_two_and_fresh_with_every_key():
  first, second = (np.asarray(sample_sequences({}, jax.random.key(i), 2048)) for i in (0, 1))
  assert first.shape == (512, 17) and first.dtype == np.int32 and (first != second).any()
  assert set(np.unique(first)) == set(range(16))
  # A symbol is drawn with its chance after the two before it: that chance is sum p^2 in the mean.
  chances = np.asarray(jax.nn.softmax(2.0 * jax.random.normal(jax.random.key(0), (16, 16, 16))))
  before, last, new = (first[:, i : i + 15].ravel() for i in range(3))
  expected = (chances[before, last] ** 2).sum(-1).mean()
  np.testing.assert_allclose(chances[before, last, new].mean(), expected, rtol=0.03)
  assert expected > 0.3  # far from uniform, 0.06


def test_the_quadratic_has_its_eigenvalues():
  hessian = jax.hessian(lambda x: quadratic_loss({"x": x}, jnp.zeros((1, DIMENSION))))(jnp.zeros(DIMENSION))
  found = np.linalg.eigvalsh(np.asarray(hessian, np.float64))
  np.testing.assert_allclose(found[-5:], np.geomspace(1e-4, 1e2, DIMENSION)[-5:], rtol=1e-3)


def own_problem():
  return Optimizee("", lambda key: {"x": jnp.ones(2)}, lambda x, batch: jnp.sum(x["x"] ** 2), lambda *a: ())


def test_a_problem_of_ones_own_by_module_and_function():
  assert float(optimizee(f"{__name__}:own_problem").loss({"x": jnp.ones(2)}, ())) == 2.0
  for name, said in ((f"{__name__}:nothing", "no attribute 'nothing'"), ("no.such:f", "No module")):
    with pytest.raises(ValueError, match=said):
      optimizee(name)
  with pytest.raises(ValueError, match="gave int: return a vita_jax.optim.Optimizee"):
    optimizee("builtins:int")
