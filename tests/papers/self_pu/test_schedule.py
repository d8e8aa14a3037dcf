"""Sizes, rates and phases against the numbers of the released settings."""

import numpy as np
import pytest

from vita_jax.papers.self_pu import schedule
from vita_jax.papers.self_pu.recipe import default_config, recipe_of


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


def test_the_prior_of_the_rest():
  assert schedule.prior_of_rest(0.4, n_unlabelled=50000, side=6000) == pytest.approx(0.368421, rel=1e-5)
  assert schedule.prior_of_rest(0.4, n_unlabelled=50000, side=0) == 0.4
  assert 0 < schedule.prior_of_rest(0.1, n_unlabelled=100, side=20) < 0.1  # more than there are positives


def test_phases_of_the_ladder():
  def summary(method):
    recipe = recipe_of(default_config("mnist", method))
    return [(p.name, p.first, p.last) for p in schedule.phases(recipe, 60000)]

  for method in ("pn_naive", "upu", "nnpu"):
    assert summary(method) == [("train", 0, 200)]
  assert summary("self_paced")[0] == ("warm_up", 0, 11)
  assert summary("self_paced")[-1] == ("self_paced_4", 41, 200)
  assert [s[1] for s in summary("self_calibrated")] == [0, 10, 11, 21, 31, 41, 50]
  found = schedule.phases(recipe_of(default_config("mnist")), 60000)
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
  recipe = recipe_of(default_config("mnist"))
  found = schedule.phases(recipe, 60000)
  first = schedule.phase_numbers(recipe, found[0], n_labelled=1000, n_unlabelled=60000)
  np.testing.assert_array_equal(first["interleave"], [61, 61])
  assert first["steps"] == 61000 // 256 and first["trusted_steps"] == 0
  last = schedule.phase_numbers(recipe, found[-1], n_labelled=1000, n_unlabelled=60000)
  np.testing.assert_array_equal(
    last["own_trusted_steps"], [38, 57]
  )  # 9600 and 14400 rows, the last batch padded
  np.testing.assert_array_equal(last["interleave"], [51, 46])
  assert last["steps"] == 57 + 51000 // 256
  np.testing.assert_allclose(last["prior"], [0.488095, 0.486842], rtol=1e-5)
  recipe = recipe._replace(self_paced=recipe.self_paced._replace(adjust_prior=False))
  fixed = schedule.phase_numbers(recipe, found[-1], n_labelled=1000, n_unlabelled=60000)
  np.testing.assert_allclose(fixed["prior"], 0.49)


def test_batches_that_cannot_be_are_refused():
  recipe = recipe_of(default_config("mnist", "nnpu"))
  (phase,) = schedule.phases(recipe, 60000)
  recipe = recipe._replace(batch_size=60)
  with pytest.raises(ValueError, match="smaller than the interleave 61.*at least 61"):
    schedule.phase_numbers(recipe, phase, n_labelled=1000, n_unlabelled=60000)
  with pytest.raises(ValueError, match="90 unlabelled rows are left beside 100"):
    schedule.phase_numbers(recipe, phase, n_labelled=100, n_unlabelled=90)
  recipe = recipe._replace(batch_size=256)  # there would be no batch at all
  with pytest.raises(ValueError, match="256 is larger than an epoch of 120 rows .40 labelled among 100 "):
    schedule.phase_numbers(recipe, phase, n_labelled=40, n_unlabelled=100)


def test_a_trusted_set_larger_than_the_smaller_class_warns():
  recipe = recipe_of(default_config("mnist", prior=0.1))
  last = schedule.phases(recipe, 60000)[-1]
  with pytest.warns(UserWarning, match="takes 7200 rows for either class.*prior 0.1 .* has 6000 of 60000"):
    schedule.phase_numbers(recipe, last, n_labelled=1000, n_unlabelled=60000)
