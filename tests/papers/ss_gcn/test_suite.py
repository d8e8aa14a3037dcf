"""The suites: what is compared has one protocol, and the bars say what the numbers say."""

import pytest
from golden.update import ROOT

from vita_jax.base.files import load_python_file
from vita_jax.cli.rows import row_config
from vita_jax.papers.ss_gcn.recipe import recipe_of

FILES = ("table", "table_hosts", "table_partition", "table_robust")


def _suite(name):
  return load_python_file(ROOT / f"configs/ss_gcn/{name}.py")


@pytest.mark.parametrize("name", FILES)
def test_a_row_and_its_baseline_have_one_protocol_or_differ_in_nothing_else(name):
  rows = {row.label: row for row in _suite(name).get_suite()}
  for row in rows.values():
    if not row.baseline:
      continue
    ours, theirs = (recipe_of(row_config(one, None)) for one in (row, rows[row.baseline]))
    if ours.protocol != theirs.protocol:
      same = {"protocol": theirs.protocol, "epochs": theirs.epochs, "tx": None}
      assert ours._replace(**same) == theirs._replace(tx=None), row.label


def test_both_hosts_read_presence_divided_by_rows_and_a_gcn_on_the_same_is_beside_them():
  rows = {row.label: row for row in _suite("table_hosts").get_suite()}
  for data in ("Cora", "Citeseer", "PubMed"):
    for host in ("GMNN", "GraphMix"):
      row = rows[f"{data} {host}"]
      forms = {recipe_of(row_config(one, None)).normalization for one in (row, rows[row.baseline])}
      assert forms == {"binary_row" if data == "PubMed" else "row"}


def test_the_bars_of_the_hosts():
  summaries = {
    label: {"metrics": {"test_accuracy": {"mean": mean}}}
    for label, mean in (("Citeseer GMNN", 0.7348), ("Citeseer GraphMix", 0.7), ("Citeseer MLP", 0.5))
  }
  text = _suite("table_hosts").finish(summaries, None)
  assert "- Citeseer GMNN: +0.65 points from the paper's 72.83 [memory], within 1.0." in text
  assert "- Citeseer GraphMix: -4.33 points from the paper's 74.33 [memory], NOT within 1.0." in text
  assert "MLP" not in text and "| Citeseer | 49.90 |" in text


def test_the_bars_of_robustness():
  module = _suite("table_robust")
  assert module.get_bars({}, {}) == ""
  shares = {("Cora GCN", "nettack links 2"): 0.30, ("Cora GCN", "nettack both 2"): 0.20}
  differences = {
    ("Cora AdvT", "nettack links 2"): (0.2, 0.1, 0.3),
    ("Cora AdvT", "pr_bcd links 2"): (-0.01, -0.02, 0.0),
    ("Cora AdvT + cluster", "nettack links 2"): (0.02, 0.01, 0.03),
    ("Cora AdvT + cluster", "gr_bcd links 2 %"): (-0.02, -0.03, -0.01),
  }
  assert module.get_bars(shares, differences).splitlines() == [
    "- Cora GCN, Nettack, links, budget 2: +1.3 points from the paper's, within 6.",
    "- Cora GCN, Nettack, both, budget 2: +11.8 points from the paper's, NOT within 6.",
    "- Cora AdvT is above Cora GCN in 1 of 2 columns; not in pr_bcd links 2.",
    "- Cora AdvT + cluster, Nettack: 1 of 1 intervals are above its baseline, 0 below.",
    "- Cora AdvT + cluster, adaptive: 0 of 1 intervals are above its baseline, 1 below.",
  ]
