"""The results table: every row's config is there, and `finish` writes what it promises."""

import runpy
from pathlib import Path

from vita_jax.papers.pcal import METHODS, default_config


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
  summaries = {
    row.label: {"metrics": {name: {"mean": 0.5 + 0.001 * i, "std": 0.0} for name in names}}
    for i, row in enumerate(rows)
  }
  shown = suite["finish"](summaries, tmp_path)
  assert shown.count("## The bar: PCAL") == 2 and shown.count("## Trials") == 1
  assert len(list(tmp_path.glob("tradeoff_*.json"))) == 5
