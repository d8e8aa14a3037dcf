"""Schedules of rates against numbers by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.optim import epoch_cosine, velocity_sgd, warmup_poly
from vita_jax.optim.windows import window_length, window_lengths


def test_the_warm_up_and_the_decay_that_stops():
  rate = warmup_poly(1.0, 1000)
  by_hand = {0: 0.01, 50: 0.2575 * 0.95**0.9, 100: 0.9095326, 500: 0.5**0.9, 800: 0.2349238, 999: 0.2349238}
  np.testing.assert_allclose([rate(t) for t in by_hand], list(by_hand.values()), rtol=1e-6)
  np.testing.assert_allclose(jax.jit(rate)(jnp.int32(500)), 0.5**0.9, rtol=1e-6)
  np.testing.assert_allclose(warmup_poly(3e-4, 1000)(900), 3e-4 * 0.2349238, rtol=1e-6)


def test_the_rate_falls_by_epochs_along_a_cosine_to_zero():
  rate = epoch_cosine(0.1, total_steps=200 * 133, per_epoch=133)
  assert float(rate(jnp.int32(132))) == float(rate(jnp.int32(0))) == pytest.approx(0.1)
  assert float(rate(jnp.int32(100 * 133))) == pytest.approx(0.05)
  epochs = sum(float(rate(jnp.int32(133 * e))) for e in range(200))
  assert epochs == pytest.approx(
    0.1 * 100.5
  )  # what a scale without gradient loses is rho times 133 times this


def test_it_is_a_schedule_of_optax():
  tx = velocity_sgd(warmup_poly(2.0, 10, warmup=1), momentum=0.0)
  w, state = jnp.ones(()), tx.init(jnp.ones(()))
  steps = []
  for _ in range(3):
    update, state = tx.update(jnp.ones(()), state, w)
    steps.append(float(update))
  np.testing.assert_allclose(steps, [-0.02, -2 * 0.9**0.9, -2 * 0.8**0.9], rtol=1e-5)


@pytest.mark.parametrize(
  ("options", "name"),
  [
    ({"peak": -1.0}, "peak"),
    ({"total_steps": 0}, "total_steps"),
    ({"warmup": 0}, "warmup"),
    ({"start": 1.5}, "start"),
    ({"power": 0.0}, "power"),
    ({"stop": np.nan}, "stop"),
  ],
)
def test_numbers_that_cannot_be_are_refused_by_name(options, name):
  with pytest.raises(ValueError, match=f"^{name} is .*: it must be a"):
    warmup_poly(**{"peak": 1.0, "total_steps": 10, **options})


def test_windows_as_released_double_within_an_epoch():
  found = window_lengths(4763, 30, smallest=10, legacy=True)
  assert found[:10] == [10, 10, 20, 40, 80, 160, 320, 640, 1280, 2203]
  assert found[10:15] == [238, 476, 952, 1904, 1193]
  assert len(found) - 1 == 66  # decisions: the first window has none
  assert len(window_lengths(2000, 50, smallest=20, legacy=True)) - 1 == 84


def test_windows_are_a_twentieth_of_what_is_done():
  found = window_lengths(4763, 30)
  assert len(found) - 1 == 167 and sum(found) == 30 * 4763
  assert len(window_lengths(2000, 50, smallest=20)) - 1 == 155


@pytest.mark.parametrize("legacy", [False, True])
def test_the_traced_formula_is_the_listed_one(legacy):
  done = before = 0
  formula = jax.jit(lambda d, b: window_length(d, b, 300, smallest=7, shrink=9, legacy=legacy))
  for expected in window_lengths(300, 4, smallest=7, shrink=9, legacy=legacy):
    found = int(formula(jnp.int32(done), jnp.int32(before)))
    assert found == expected
    done += found
    if done == 300:
      done, before = 0, before + 300
