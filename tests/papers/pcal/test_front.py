"""Fronts are chosen by validation numbers and read off by test numbers."""

import pytest

from vita_jax.papers.pcal import front
from vita_jax.papers.pcal.front import Point


def _point(method, attack, utility, validation=None):
  chosen = validation or (attack, utility)
  return Point(method, f"{attack}", attack, utility, *chosen)


LINE = [_point("a", 0.6, 0.6), _point("a", 0.8, 0.75)]


def test_utility_is_linear_between_points():
  assert front.utility_at(LINE, 0.7) == pytest.approx(0.675)
  assert front.utility_at(LINE, 0.9) == pytest.approx(0.75)
  assert front.utility_at(LINE, 0.59) is None  # it does not get there


def test_points_are_kept_by_validation_numbers():
  lucky = _point("a", 0.55, 0.9, validation=(0.85, 0.5))  # good on test rows only
  assert lucky not in front.pareto([*LINE, lucky])
  assert front.utility_at([*LINE, lucky], 0.7) == front.utility_at(LINE, 0.7)
  unlucky = _point("a", 0.9, 0.5, validation=(0.5, 0.9))
  assert front.pareto([*LINE, unlucky]) == [unlucky]


def test_the_area_is_that_of_the_step_up():
  flat = [_point("a", 0.5, 0.7)]
  assert front.area(flat, high=0.9) == pytest.approx(0.2)
  assert front.area([_point("a", 0.7, 0.7)], high=0.9) == pytest.approx(0.1, abs=0.001)


def test_text_and_figure():
  points = [*LINE, _point("b", 0.75, 0.7)]
  shown = front.markdown(points, at=0.7)
  assert "| a | 2 | 0.600 | 0.675 |" in shown and "does not reach it" in shown
  assert front.comma_separated(points).count("\n") == 4
  assert front.figure(points, title="t").axes[0].get_legend() is not None


def test_summaries_become_points():
  entry = lambda v: {"mean": v, "std": 0.01}  # noqa: E731
  names = ("attack_auc", "utility_auc", "validation_attack_auc", "validation_utility_auc")
  (point,) = front.points_of({("a", "x"): {n: entry(0.6) for n in names}, ("b", "y"): {}})
  assert point.method == "a" and point.attack == 0.6 and point.in_training != point.in_training
