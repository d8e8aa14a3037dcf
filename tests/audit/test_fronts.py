"""Fronts are chosen by validation numbers and read off by test numbers."""

import pytest

from vita_jax.audit import Point, fronts


def _point(method, attack, utility, validation=None):
  chosen = validation or (attack, utility)
  return Point(method, f"{attack}", attack, utility, *chosen)


LINE = [_point("a", 0.6, 0.6), _point("a", 0.8, 0.75)]


def test_utility_is_linear_between_points():
  assert fronts.utility_at(LINE, 0.7) == pytest.approx(0.675)
  assert fronts.utility_at(LINE, 0.9) == pytest.approx(0.75)
  assert fronts.utility_at(LINE, 0.59) is None  # it does not get there


def test_leak_is_read_off_the_same_line():
  assert fronts.leak_at(LINE, 0.675) == pytest.approx(0.7)
  assert fronts.leak_at(LINE, 0.55) == pytest.approx(0.6) and fronts.leak_at(LINE, 0.76) is None
  dented = [*LINE, _point("a", 0.7, 0.58, validation=(0.7, 0.7))]  # no more leak buys less utility
  assert fronts.leak_at(dented, 0.6) == pytest.approx(0.6)


def test_the_bar_and_the_trials():
  ours = [p._replace(method="ours", boosting=p.attack - 0.1) for p in LINE]
  others = [_point("b", 0.65, 0.62)._replace(boosting=0.7), _point("c", 0.75, 0.7)]
  shown = fronts.bar([*ours, *others], "ours", at=0.7, boosted=("b",))
  assert "of 0.7: 0.675" in shown and "| b | 0.620 | +0.055 |" in shown
  assert "| c | does not reach it |  |" in shown and "| b 0.65 | 0.620 | 0.700 | 0.527 | -0.173 |" in shown
  trial = _point("ours: wide", 0.5, 0.5, validation=(0.7, 0.7))  # test numbers play no part
  assert "| ours: wide 0.5 | 0.700 | 0.700 | +0.025 |" in fronts.gains([trial], LINE)


def test_points_are_kept_by_validation_numbers():
  lucky = _point("a", 0.55, 0.9, validation=(0.85, 0.5))  # good on test rows only
  assert lucky not in fronts.pareto([*LINE, lucky])
  assert fronts.utility_at([*LINE, lucky], 0.7) == fronts.utility_at(LINE, 0.7)
  unlucky = _point("a", 0.9, 0.5, validation=(0.5, 0.9))
  assert fronts.pareto([*LINE, unlucky]) == [unlucky]


def test_the_area_is_that_of_the_step_up():
  flat = [_point("a", 0.5, 0.7)]
  assert fronts.area(flat, high=0.9) == pytest.approx(0.2)
  assert fronts.area([_point("a", 0.7, 0.7)], high=0.9) == pytest.approx(0.1, abs=0.001)


def test_text_and_figure():
  points = [*LINE, _point("b", 0.75, 0.7)]
  shown = fronts.markdown(points, at=0.7)
  assert "| a | 2 | 0.600 | 0.675 |" in shown and "does not reach it" in shown
  assert fronts.comma_separated(points).count("\n") == 4
  assert fronts.figure(points, title="t").axes[0].get_legend() is not None


def test_summaries_become_points():
  names = ("attack_auc", "utility_auc", "validation_attack_auc", "validation_utility_auc")
  metrics = {name: {"mean": 0.6, "std": 0.01} for name in names}
  (point,) = fronts.points_of({("a", "x"): metrics, ("b", "y"): {}})
  assert point.method == "a" and point.attack == 0.6 and point.in_training != point.in_training
