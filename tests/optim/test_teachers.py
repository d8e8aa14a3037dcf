"""Teachers against the formulas of TensorFlow 1, written out in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vita_jax.optim.teachers import teacher

LR = 0.01
GRADIENTS = np.random.default_rng(0).normal(size=(30, 5)) * 10.0 ** np.arange(-6, 4, 2)


def _adam():
  m = v = 0.0
  for t, g in enumerate(GRADIENTS, 1):
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    yield -LR * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-8)


def _rmsprop():
  square = 1.0
  for g in GRADIENTS:
    square = 0.9 * square + 0.1 * g * g
    yield -LR * g / np.sqrt(square + 1e-10)


def _nag():
  momentum = 0.0
  for g in GRADIENTS:
    momentum = 0.9 * momentum + g
    yield -LR * (g + 0.9 * momentum)


@pytest.mark.parametrize("name, formula", [("adam", _adam), ("rmsprop", _rmsprop), ("nag", _nag)])
def test_a_teacher_follows_its_formula(name, formula):
  tx = teacher(name, LR)
  state, update = tx.init(jnp.zeros(5)), jax.jit(tx.update)
  for gradient, expected in zip(GRADIENTS, formula(), strict=True):
    step, state = update(jnp.asarray(gradient, jnp.float32), state)
    np.testing.assert_allclose(step, expected, rtol=2e-4)


def test_adam_differs_from_optax_only_in_where_epsilon_sits():
  ours, theirs = teacher("adam", LR), optax.adam(LR)
  for size, same in ((1.0, True), (1e-7, False)):
    g = jnp.full(3, size)
    a, b = (tx.update(g, tx.init(g))[0] for tx in (ours, theirs))
    assert np.allclose(a, b, rtol=1e-4) == same


def test_an_unknown_teacher_is_refused():
  with pytest.raises(ValueError, match="did you mean 'adam'"):
    teacher("adma", LR)
