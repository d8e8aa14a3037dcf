"""The one-jvp closed form against the virtual step differentiated twice; weights and their budget."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.losses import pu
from vita_jax.papers.self_pu import calibrate
from vita_jax.papers.self_pu.model import MLP

PRIOR, RATE = 0.4, 1e-3


def _plain():
  """A network without batch norm."""
  keys = jax.random.split(jax.random.key(0), 3)
  params = {"a": jax.random.normal(keys[0], (6, 5)), "b": jax.random.normal(keys[1], (5,))}
  return params, lambda p, x: jnp.tanh(x @ p["a"]) @ p["b"]


def _with_batch_norm():
  model = MLP(hidden=(5,), dtype=jnp.float64)
  variables = model.init(jax.random.key(1), jnp.zeros((2, 6)), train=True)
  stats = jax.tree.map(lambda x: x.astype(jnp.float64), variables["batch_stats"])

  def forward(params, x):
    variables = {"params": params, "batch_stats": stats}
    return model.apply(variables, x, train=True, mutable=["batch_stats"])[0]

  return variables["params"], forward


@pytest.mark.parametrize("make", [_plain, _with_batch_norm])
def test_the_closed_form_is_the_second_order_computation(make):
  with jax.enable_x64(True):
    random = np.random.default_rng(0)
    params, forward = make()
    params = jax.tree.map(lambda x: x.astype(jnp.float64), params)
    x, clean = jnp.asarray(random.normal(size=(12, 6))), jnp.asarray(random.normal(size=(9, 6)))
    labelled, truth = jnp.arange(12) < 3, jnp.asarray(random.random(9) < 0.5, jnp.float64)

    def validation_loss(params):
      return jnp.mean(pu.binary_cross_entropy(forward(params, clean), truth))

    def virtual(weights):
      """The validation loss after one SGD step on the weighted terms, written out from the definition."""

      def weighted(params):
        g, m = forward(params, x), labelled.astype(jnp.float64)
        p = jax.nn.sigmoid(g)
        ce = weights[0] * (-p * jnp.log(p) - (1 - p) * jnp.log(1 - p)) / 12
        terms = PRIOR * m * jax.nn.sigmoid(-g) / 3 + ((1 - m) / 9 - PRIOR * m / 3) * jax.nn.sigmoid(g)
        return jnp.sum(ce) + jnp.sum(weights[1] * terms)

      step = jax.grad(weighted)(params)
      return validation_loss(jax.tree.map(lambda p, s: p - RATE * s, params, step))

    expected = -jax.jit(jax.grad(virtual))(jnp.zeros((2, 12)))

    def closed(params):
      logits, derivative = jax.linearize(lambda p: forward(p, x), params)
      along = derivative(jax.grad(validation_loss)(params))
      gradient = partial(calibrate.meta_gradient, logits, along, labelled, prior=PRIOR, rate=RATE)
      return jnp.stack(gradient()), gradient(flipped_entropy=True)[0]

    found, flipped = jax.jit(closed)(params)
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * float(jnp.abs(expected).max()))
    assert (found[0] > 0).any() and (found[0] < 0).any()
    np.testing.assert_allclose(flipped, -found[0], rtol=1e-6)


def test_a_row_that_validation_wants_higher_gets_entropy():
  """One row with g = 0.5 > 0, also the validation row with label 1: raising g lowers both losses."""
  logits = jnp.array([0.5])
  slope = jax.grad(lambda g: pu.binary_cross_entropy(g, 1.0).sum())(logits)
  u_ce, u_pu = calibrate.meta_gradient(logits, slope, jnp.array([False]), prior=PRIOR)
  assert u_ce[0] > 0 and u_pu[0] < 0  # nnPU alone would call it negative
  w_ce, w_pu = calibrate.calibration_weights(u_ce, u_pu, jnp.array([False]), budget=1.0)
  assert w_ce[0] > 0.99 and w_pu[0] == 1 - w_ce[0]


def test_the_imbalanced_risk_is_the_one_that_is_weighed():
  logits, labelled = jnp.linspace(-3, 3, 10), jnp.arange(10) % 4 == 0
  plain, balanced = (
    calibrate.meta_gradient(logits, jnp.ones(10), labelled, prior=PRIOR, balance=b)[1] for b in (None, 0.8)
  )
  np.testing.assert_allclose(balanced[~labelled] / plain[~labelled], 0.2 / 0.6, rtol=1e-5)


def test_weights_and_budget_by_hand():
  labelled = jnp.array([True, False, False, False, False, False, False, False])
  u_ce = jnp.array([9.0, 3.0, -1.0, 1.0, 2.0, 5.0, 1.0, 1.0])
  u_pu = jnp.array([0.0, 1.0, -2.0, 0.0, -7.0, 5.0, 1.0, 0.0])
  w_ce, w_pu = calibrate.calibration_weights(u_ce, u_pu, labelled, budget=1.0)
  np.testing.assert_allclose(w_ce, [0, 0.75, 0, 1, 1, 0.5, 0.5, 1], rtol=1e-6)
  np.testing.assert_allclose(w_ce + w_pu, 1)
  # Budget 2 of 8: 0.75 + 0 + 1 = 1.75 before row 4, 2.75 before row 5, so rows 5 to 7 are cut.
  w_ce, _ = calibrate.calibration_weights(u_ce, u_pu, labelled, budget=0.25)
  np.testing.assert_allclose(w_ce, [0, 0.75, 0, 1, 1, 0, 0, 0], rtol=1e-6)
  # As released for student 1, what is not normalised yet counts as well: everything is cut.
  w_ce, _ = calibrate.calibration_weights(u_ce, u_pu, labelled, budget=0.25, budget_total=True)
  np.testing.assert_allclose(w_ce[:6], 0)
  # Both gradients negative: nnPU.
  assert calibrate.calibration_weights(-jnp.ones(1), -jnp.ones(1), labelled[1:2])[1] == 1
