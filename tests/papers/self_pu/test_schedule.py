"""Sizes, rates and phases against the numbers of the released settings."""

import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.papers.self_pu import schedule
from vita_jax.papers.self_pu.config import default_config


@pytest.mark.parametrize(
  "n,pace,expected",
  [
    (60000, 0.4, (1200, 2400, 3600, 4800)),
    (60000, 0.6, (1800, 3600, 5400, 7200)),
    (50000, 0.4, (1000, 2000, 3000, 4000)),
    (50000, 0.6, (1500, 3000, 4500, 6000)),
  ],
)
def test_rows_on_each_side_as_released(n, pace, expected):
  found = [schedule.trusted_rows(e, n_unlabelled=n, pace=pace) for e in (10, 20, 30, 40)]
  assert tuple(found) == expected


def test_the_linear_schedule_ends_at_the_pace():
  shares = [2 * schedule.trusted_fraction(e, pace=0.25, form="linear") for e in (10, 20, 30, 40)]
  np.testing.assert_allclose(shares, [0.0625, 0.125, 0.1875, 0.25])
  assert schedule.trusted_fraction(10, pace=0.25, form="linear", increasing=False) == 0.125
  assert schedule.trusted_fraction(10, pace=0.4, increasing=False) == 0.2
  with pytest.raises(ValueError, match="did you mean 'linear'"):
    schedule.trusted_fraction(10, pace=0.4, form="linea")


def test_ramp_and_learning_rate():
  ramp = [float(schedule.ramp_up(e)) for e in (0, 30, 50, 199, 430, 1000)]
  np.testing.assert_allclose(ramp, [0.0020214, 0.0020214, 0.0032914, 0.056614, 0.3, 0.3], rtol=1e-4)
  rate = lambda e, **k: float(schedule.learning_rate(jnp.int32(e), peak=5e-4, epochs=200, **k))  # noqa: E731
  np.testing.assert_allclose([rate(e, ahead=True) for e in (0, 99)], [4.99969e-4, 2.5e-4], rtol=1e-5)
  assert rate(199, ahead=True) < 1e-11  # as released, the last epoch trains with rate 0
  assert rate(0) == pytest.approx(5e-4) and rate(199) > 1e-8


def test_the_prior_of_the_rest():
  assert schedule.prior_of_rest(0.4, n_unlabelled=50000, side=6000) == pytest.approx(0.368421, rel=1e-5)
  assert schedule.prior_of_rest(0.4, n_unlabelled=50000, side=0) == 0.4
  assert 0 < schedule.prior_of_rest(0.1, n_unlabelled=100, side=20) < 0.1  # more than there are positives


def test_phases_of_the_ladder():
  def summary(method):
    config = default_config("mnist", method)
    return [(p.name, p.first, p.last) for p in schedule.phases(config, 60000)]

  for method in ("pn_naive", "upu", "nnpu"):
    assert summary(method) == [("train", 0, 200)]
  assert summary("self_paced")[0] == ("warm_up", 0, 11)
  assert summary("self_paced")[-1] == ("self_paced_4", 41, 200)
  assert [s[1] for s in summary("self_calibrated")] == [0, 10, 11, 21, 31, 41, 50]
  found = schedule.phases(default_config("mnist"), 60000)
  assert [p.name for p in found] == [
    "warm_up", "calibrate", "self_paced_1", "self_paced_2", "self_paced_3", "self_paced_4", "distil"
  ]  # fmt: skip
  assert [p.sides for p in found[2:]] == [
    (1200, 1800),
    (2400, 3600),
    (3600, 5400),
    (4800, 7200),
    (4800, 7200),
  ]
  assert [p.selects for p in found] == [False, False, True, True, True, True, False]
  assert [p.calibrates for p in found] == [False, True, True, True, True, True, False]
  assert [p.distils for p in found] == [False] * 6 + [True]


def test_numbers_of_a_phase():
  config = default_config("mnist")
  found = schedule.phases(config, 60000)
  first = schedule.phase_numbers(config, found[0], n_labelled=1000, n_unlabelled=60000)
  np.testing.assert_array_equal(first["interleave"], [61, 61])
  assert first["steps"] == 61000 // 256 and first["trusted_steps"] == 0
  last = schedule.phase_numbers(config, found[-1], n_labelled=1000, n_unlabelled=60000)
  np.testing.assert_array_equal(
    last["own_trusted_steps"], [38, 57]
  )  # 9600 and 14400 rows, the last batch padded
  np.testing.assert_array_equal(last["interleave"], [51, 46])
  assert last["steps"] == 57 + 51000 // 256
  np.testing.assert_allclose(last["prior"], [0.488095, 0.486842], rtol=1e-5)
  config.self_paced.adjust_prior = False
  fixed = schedule.phase_numbers(config, found[-1], n_labelled=1000, n_unlabelled=60000)
  np.testing.assert_allclose(fixed["prior"], 0.49)


def test_batches_that_cannot_be_are_refused():
  config = default_config("mnist", "nnpu")
  (phase,) = schedule.phases(config, 60000)
  config.batch_size = 60
  with pytest.raises(ValueError, match="smaller than the interleave 61.*at least 61"):
    schedule.phase_numbers(config, phase, n_labelled=1000, n_unlabelled=60000)
  with pytest.raises(ValueError, match="90 unlabelled rows are left beside 100"):
    schedule.phase_numbers(config, phase, n_labelled=100, n_unlabelled=90)
  config.batch_size = 256  # there would be no batch at all
  with pytest.raises(ValueError, match="256 is larger than an epoch of 120 rows .40 labelled among 100 "):
    schedule.phase_numbers(config, phase, n_labelled=40, n_unlabelled=100)


def test_a_trusted_set_larger_than_the_smaller_class_warns():
  config = default_config("mnist", prior=0.1)
  last = schedule.phases(config, 60000)[-1]
  with pytest.warns(UserWarning, match="takes 7200 rows for either class.*prior 0.1 .* has 6000 of 60000"):
    schedule.phase_numbers(config, last, n_labelled=1000, n_unlabelled=60000)
