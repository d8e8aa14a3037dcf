"""Fronts are chosen by validation numbers and read off by test numbers."""

import runpy
from pathlib import Path

import pytest

from vita_jax.papers.pcal import METHODS, front
from vita_jax.papers.pcal.config import default_config
from vita_jax.papers.pcal.front import Point


def _point(method, attack, utility, validation=None):
  chosen = validation or (attack, utility)
  return Point(method, f"{attack}", attack, utility, *chosen)


LINE = [_point("a", 0.6, 0.6), _point("a", 0.8, 0.75)]


def test_utility_is_linear_between_points():
  assert front.utility_at(LINE, 0.7) == pytest.approx(0.675)
  assert front.utility_at(LINE, 0.9) == pytest.approx(0.75)
  assert front.utility_at(LINE, 0.59) is None  # it does not get there


def test_leak_is_read_off_the_same_line():
  assert front.leak_at(LINE, 0.675) == pytest.approx(0.7)
  assert front.leak_at(LINE, 0.55) == pytest.approx(0.6) and front.leak_at(LINE, 0.76) is None
  dented = [*LINE, _point("a", 0.7, 0.58, validation=(0.7, 0.7))]  # no more leak buys less utility
  assert front.leak_at(dented, 0.6) == pytest.approx(0.6)


def test_the_bar_and_the_trials():
  ours = [p._replace(method="ours", boosting=p.attack - 0.1) for p in LINE]
  others = [_point("b", 0.65, 0.62)._replace(boosting=0.7), _point("c", 0.75, 0.7)]
  shown = front.bar([*ours, *others], "ours", at=0.7, boosted=("b",))
  assert "of 0.7: 0.675" in shown and "| b | 0.620 | +0.055 |" in shown
  assert "| c | does not reach it |  |" in shown and "| b 0.65 | 0.620 | 0.700 | 0.527 | -0.173 |" in shown
  trial = _point("ours: wide", 0.5, 0.5, validation=(0.7, 0.7))  # test numbers play no part
  assert "| ours: wide 0.5 | 0.700 | 0.700 | +0.025 |" in front.gains([trial], LINE)


def test_the_suite_has_what_the_table_has_to_show(tmp_path):
  """Every row's config exists, and `finish` writes each group's files."""
  path = Path(__file__).parents[3] / "configs" / "pcal" / "table.py"
  suite = runpy.run_path(str(path))
  rows = suite["get_suite"]()
  labels = [row.label for row in rows]
  assert len(set(labels)) == len(labels) and all(not r.baseline or r.baseline in labels for r in rows)
  main = [row for row in rows if row.label.startswith("limit_high exclude,")]
  assert all(row.overrides["seeds"] == 5 and "audit.attackers" not in row.overrides for row in main)
  methods = {row.overrides.get("method", "pcal") for row in main}
  assert methods == set(METHODS)
  for row in rows:
    config = default_config("credit/taiwan", ())
    config.update_from_flattened_dict(dict(row.overrides))
  names = ("attack_auc", "utility_auc", "validation_attack_auc", "validation_utility_auc")
  entry = lambda i: {name: {"mean": 0.5 + 0.001 * i, "std": 0.0} for name in names}  # noqa: E731
  shown = suite["finish"]({row.label: {"metrics": entry(i)} for i, row in enumerate(rows)}, tmp_path)
  assert shown.count("## The bar: PCAL") == 2 and shown.count("## Trials") == 1
  assert len(list(tmp_path.glob("tradeoff_*.json"))) == 5


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
