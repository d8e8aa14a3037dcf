"""Which trainings a config asks for, and the table's suite."""

import runpy
from pathlib import Path

import pytest

from vita_jax.papers.bert_tickets.plan import plan
from vita_jax.papers.bert_tickets.recipe import default_config, recipe_of


def _plan(method, size=1000, **overrides):
  config = default_config("sst2", method)
  config.update_from_flattened_dict(overrides)
  return plan(recipe_of(config), size)


def test_imp_trains_a_round_for_each_tenth_and_the_ticket_by_itself():
  found = _plan("imp", sparsity=0.7)
  assert [t.name for t in found] == [*(f"round_{j}" for j in range(1, 8)), "ticket_70_theta0"]
  assert [t.zeros for t in found] == [0, 100, 200, 300, 400, 500, 600, 700]
  assert all(t.start == "theta0" for t in found) and found[6].cut == (("70", 700),)
  assert found[-1].result == "theta0_70" and not any(t.result for t in found[:-1])


def test_tickets_on_the_way_are_cut_where_the_search_reaches_them():
  found = _plan("imp", sparsity=0.25, tickets=(0.1, 0.2), starts=("theta0", "shuffled"))
  assert [t.name for t in found[:3]] == ["round_1", "round_2", "round_3"]
  assert [t.cut for t in found[:3]] == [(("10", 100),), (("20", 200),), (("25", 250),)]
  names = [f"ticket_{s}_{w}" for s in (10, 20, 25) for w in ("theta0", "shuffled")]
  # What a run is named and exported for comes last; its dropout masks do not depend on that.
  assert [t.name for t in found[3:]] == [*names[:4], names[5], names[4]]
  assert [t.number for t in found] == [1, 2, 3, 4, 5, 6, 7, 9, 8]


def test_the_geometric_schedule_needs_more_rounds():
  zeros = [t.zeros for t in _plan("imp", sparsity=0.5, **{"pruning.schedule": "geometric"}) if not t.result]
  assert zeros == [0, 100, 190, 271, 344, 410, 469]


def test_other_methods_train_only_what_they_need():
  assert [t.name for t in _plan("full")] == ["full"]
  assert [t.name for t in _plan("oneshot", tickets=(0.5,))] == ["ticket_50_theta0", "ticket_70_theta0"]
  assert [t.name for t in _plan("random")] == ["ticket_70_theta0"]
  assert [t.name for t in _plan("shuffled")][-1] == "ticket_70_shuffled"
  assert [t.name for t in _plan("random_reinit", ticket="x")] == ["ticket_70_random_reinit"]


def test_standard_pruning_goes_on_and_reports_the_round_with_the_mask():
  found = _plan("standard", sparsity=0.3, tickets=(0.1,))
  assert [(t.name, t.start, t.zeros, t.result) for t in found] == [
    ("round_1", "theta0", 0, ""),
    ("round_2", "trained", 100, "trained_10"),
    ("round_3", "trained", 200, ""),
    ("round_4", "trained", 300, "trained_30"),
  ]


@pytest.mark.parametrize("size", [5_308_416, 1001, 77])
def test_rounding_never_adds_a_round(size):
  """Rounds and tickets count their zeros each for itself: the counts may differ by one."""
  for tenth in range(1, 10):
    found = _plan("imp", size, sparsity=tenth / 10)
    assert len(found) == tenth + 1 and found[-1].zeros == round(tenth / 10 * size)
    assert found[-2].cut == ((f"{10 * tenth}", found[-1].zeros),)


def test_the_suite_shows_what_its_runs_report():
  suite = runpy.run_path(str(Path(__file__).parents[3] / "configs" / "bert_tickets" / "table.py"))
  rows, runs = suite["get_suite"](), {}
  for row in rows:
    config = default_config(*row.config.removeprefix("configs/bert_tickets/").split(".py:"))
    config.update_from_flattened_dict(row.overrides)
    results = [t.result for t in plan(recipe_of(config), 5_308_416) if t.result]
    assert row.metric.rpartition("_")[0] in ("", *results), row.label
    assert runs.setdefault(row.run, (row.config, row.overrides)) == (row.config, row.overrides)
  assert len(rows) == 2 * (1 + 3 * 5) and len(runs) == 2 * 4
  score = {"full": 0.9, "IMP 50": 0.91, "IMP 70": 0.89, "IMP 90": 0.5, "one-shot 50": 0.87}
  known = [row for row in rows if row.label.removeprefix("SST-2 ").removesuffix(" %") in score]
  values = {r.label: score[r.label.removeprefix("SST-2 ").removesuffix(" %")] for r in known}
  found = {
    row.label: {"metrics": {row.metric: {"values": [values[row.label] - 0.02, values[row.label] + 0.02]}}}
    for row in known
  }
  text = suite["finish"](found, None)
  assert text.strip() == (
    "- SST-2, IMP: last matching sparsity 70 % (mean + std reaches the full mean), 50 % (the mean does)\n"
    "- SST-2, one-shot: last matching sparsity none"
    " (mean + std reaches the full mean), none (the mean does)\n"
    "- SST-2, IMP minus one-shot, points: 50 %: +4.00 [+4.00, +4.00]"
  )


def test_an_early_point_splits_the_first_training():
  found = _plan("imp", sparsity=0.2, rewind=0.1)
  assert [(t.name, t.start) for t in found] == [
    ("early", "early"),
    ("round_1", "on"),
    ("round_2", "theta0"),
    ("ticket_20_theta0", "theta0"),
  ]


@pytest.mark.parametrize(
  "method,overrides,message",
  [
    ("imp", {"sparsity": 1.0}, r"config.sparsity is 1.0: it must be a finite number, from 0 on and below 1"),
    ("imp", {"tickets": (-0.1,)}, "config.tickets is .*-0.1.*: it must be numbers from 0 on"),
    ("imp", {"starts": ("shufled",)}, "did you mean 'shuffled'"),
    ("imp", {"starts": ("trained",)}, "rewind_to=none"),
    ("imp", {"starts": ("trained",), "ticket": "x"}, "needs a search"),
    ("standard", {"sparsity": 0.25}, "25 % is not reached by whole rounds"),
  ],
)
def test_what_cannot_be_is_named(method, overrides, message):
  with pytest.raises(ValueError, match=message):
    _plan(method, **overrides)
