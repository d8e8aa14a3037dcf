"""The rule by which a subnetwork matches the full model."""

import pytest

from vita_jax.compress import last_matching, matches


def test_matching_takes_the_spread_that_the_rule_names():
  full, near = [0.80, 0.82], [0.79, 0.81]  # means 0.81 and 0.80, std 0.01
  assert matches(near, full) and matches(near, full, rule="full_std") and not matches(near, full, rule="mean")
  sure, wide = [0.80, 0.80], [0.70, 0.90]
  assert not matches(sure, full) and matches(sure, full, rule="full_std")
  assert matches(wide, full) and matches(full, full, rule="mean")
  assert last_matching({50: near, 70: sure, 90: [0.5, 0.5]}, full) == 50
  assert last_matching({50: [0.1, 0.1]}, full) is None
  with pytest.raises(ValueError, match="two seeds or more"):
    matches([0.9], full)
  with pytest.raises(ValueError, match="no values"):
    matches([], full)
