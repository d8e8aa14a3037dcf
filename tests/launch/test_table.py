"""launch/table.py on a suite of our own; its runs are whole runs, which predict and export can use."""

import csv
import io
import json

import numpy as np
import pytest
from scipy import stats

from launch.commands import launch, refused, succeeded
from vita_jax.report.suite import Row, make_lines, markdown

SUITE = """
from vita_jax.report.suite import Row

COMMON = {{"data.path": {graph!r}, "epochs": 25, "log_every": 10}}

def get_suite():
  return (
    Row("Plain", "configs/ss_gcn/custom.py", COMMON, paper=(0.7085, 0.007), source="[memory]"),
    Row("Plain + completion", "configs/ss_gcn/custom.py:completion", {{**COMMON, "ss.gcn.n_outputs": 5}},
        baseline="Plain"),
    Row("Left out", "configs/ss_gcn/custom.py", {{**COMMON, "no.such.key": 1}}),
  )
"""


@pytest.fixture(scope="module")
def table(graph, tmp_path_factory):
  """(flags, workdir, stdout) of a table of two rows with three seeds."""
  folder = tmp_path_factory.mktemp("table")
  (folder / "suite.py").write_text(SUITE.format(graph=graph))
  flags = (f"--suite={folder / 'suite.py'}", f"--workdir={folder / 'T'}", "--seeds=3", "--rows=^Plain")
  return flags, folder / "T", succeeded(launch("table", *flags))


def _values(workdir, row):
  metrics = json.loads((workdir / row / "summary.json").read_text())["metrics"]
  return np.array(metrics["test_accuracy"]["values"])


def test_the_table_shows_ours_beside_the_papers_number_with_its_mark(table):
  _, workdir, output = table
  text = (workdir / "table.md").read_text()
  assert text.strip() in output
  lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
  lines = [[cell.strip() for cell in line] for line in lines]
  assert lines[0][:5] == ["method", "seeds", "metric", "ours", "paper"] and len(lines) == 4
  plain, completion = lines[2:]
  ours = _values(workdir, "plain") * 100
  assert plain == [
    "Plain",
    "3",
    "test_accuracy %",
    f"{ours.mean():.2f} ± {ours.std():.2f}",
    "70.85 ± 0.70 [memory]",
    "",
  ]
  assert completion[0] == "Plain + completion" and completion[4] == "unknown"
  assert "not verified" in text


def test_the_paired_interval_is_scipys(table):
  _, workdir, _ = table
  ours, baseline = _values(workdir, "plain_completion"), _values(workdir, "plain")
  interval = stats.ttest_rel(ours, baseline).confidence_interval(0.95)
  rows = list(csv.DictReader(io.StringIO((workdir / "table.csv").read_text())))
  assert [row["label"] for row in rows] == ["Plain", "Plain + completion"]
  found = [float(rows[1][key]) for key in ("difference", "difference_low", "difference_high")]
  np.testing.assert_allclose(found, [np.mean(ours - baseline), *interval], rtol=1e-6, atol=1e-12)
  assert [float(v) for v in rows[0]["values"].split()] == baseline.tolist()
  assert rows[0]["paper_source"] == "[memory]" and rows[0]["difference"] == ""
  low, high = (f"{100 * x:+.2f}" for x in interval)
  assert f"[{low}, {high}] to Plain" in (workdir / "table.md").read_text()
  assert (workdir / "table.png").read_bytes().startswith(b"\x89PNG")


def test_a_row_is_paired_with_the_metric_that_its_baseline_shows():

  def summary(**metrics):
    return {
      "seeds": [0, 1, 2],
      "metrics": {name: {"mean": 0.0, "std": 0.0, "values": values} for name, values in metrics.items()},
    }

  rows = (Row("Full", "c", metric="full"), Row("Half", "c", metric="half", baseline="Full"))
  lines = make_lines(rows, {"Full": summary(full=[1.0, 2.0, 4.0]), "Half": summary(half=[1.5, 2.5, 4.5])})
  assert lines[0].difference is None and lines[1].difference == (0.5, 0.5, 0.5)


def test_a_narrow_interval_has_four_digits_and_a_percentage_two():
  def text(metric, ours, theirs):
    numbers = [{"mean": np.mean(v), "std": 0.0, "diverged": 0, "values": v} for v in (ours, theirs)]
    entries = [{"seeds": [0, 1, 2], "metrics": {metric: found}} for found in numbers]
    rows = (Row("ours", "c", metric=metric, baseline="theirs"), Row("theirs", "c", metric=metric))
    return markdown(make_lines(rows, dict(zip(("ours", "theirs"), entries, strict=True))), title="T")

  # 0.11 -+ t(0.975, 2) * 0.01 / sqrt 3 = 0.11 -+ 4.3027 * 0.005774 = 0.11 -+ 0.0248
  assert "+0.1100 [+0.0852, +0.1348] to theirs" in text("loss", [1.1, 1.11, 1.12], [1.0, 1.0, 1.0])
  assert "+1.10 [+0.85, +1.35] to theirs" in text("loss", [2.0, 2.1, 2.2], [1.0, 1.0, 1.0])
  assert "+11.00 [+8.52, +13.48] to theirs" in text("test_accuracy", [0.6, 0.61, 0.62], [0.5, 0.5, 0.5])


def test_a_metric_that_a_run_does_not_have_is_named():
  summary = {"seeds": [0], "metrics": {"l1": {"values": [0.5]}}}
  with pytest.raises(ValueError, match="row 'one': its run has no metric psnr; it has l1"):
    make_lines([Row("one", "c.py", metric="psnr")], {"one": summary})


def test_a_second_call_reuses_the_runs(table):
  flags, workdir, output = table
  files = [p for row in ("plain", "plain_completion") for p in (workdir / row).rglob("*") if p.is_file()]
  before = {p: p.stat().st_mtime_ns for p in files if p.name != ".lock"}
  assert succeeded(launch("table", *flags)) == output
  assert {p: p.stat().st_mtime_ns for p in before} == before


def test_a_row_in_parts_has_the_numbers_of_the_whole(table, tmp_path):
  (suite, _, seeds, _), whole, _ = table
  flags = (suite, f"--workdir={tmp_path}", seeds, "--rows=^Plain$", "--split=2")
  output = succeeded(launch("table", *flags))
  assert [part.name for part in sorted((tmp_path / "plain").iterdir())] == ["seed_0", "seed_2"]
  row = next(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
  assert row["seeds"] == "3"
  # Two seeds side by side differ from three by rounding.
  np.testing.assert_allclose([float(v) for v in row["values"].split()], _values(whole, "plain"), atol=0.021)
  assert succeeded(launch("table", *flags)) == output


def test_a_table_goes_on_from_a_file_of_results_without_its_runs(table, tmp_path):
  flags, workdir, _ = table
  kept = f"--results={tmp_path / 'table.jsonl'}"
  succeeded(launch("table", *flags, kept))
  elsewhere = tmp_path / "T"
  succeeded(launch("table", flags[0], f"--workdir={elsewhere}", *flags[2:], kept))
  assert (elsewhere / "table.md").read_text() == (workdir / "table.md").read_text()
  assert not (elsewhere / "plain").exists()


def test_a_row_with_an_unknown_key_is_named_and_the_table_stays(table):
  flags, workdir, _ = table
  text = (workdir / "table.md").read_text()
  refused(launch("table", *flags[:3], "--rows=Left"), "row 'Left out'", "no")
  assert (workdir / "table.md").read_text() == text


def test_rows_that_match_nothing_are_refused(table):
  refused(launch("table", *table[0][:2], "--rows=nothing"), "--rows='nothing'", "Plain + completion")


def test_more_seeds_compute_only_the_new_ones_and_fewer_compute_none(table):
  (suite, workdir, _, _), folder, _ = table
  before = {
    p: p.stat().st_mtime_ns for p in (folder / "plain").rglob("*") if p.is_file() and p.name != ".lock"
  }
  flags = (suite, workdir, "--rows=^Plain$")
  succeeded(launch("table", *flags, "--seeds=4"))
  assert {p: p.stat().st_mtime_ns for p in before} == before
  assert json.loads((folder / "plain" / "seed_3" / "summary.json").read_text())["seeds"] == [3]
  four = next(csv.DictReader(io.StringIO((folder / "table.csv").read_text())))
  assert four["seeds"] == "4" and [float(v) for v in four["values"].split()][:3] == list(
    _values(folder, "plain")
  )
  succeeded(launch("table", *flags, "--seeds=2"))
  two = next(csv.DictReader(io.StringIO((folder / "table.csv").read_text())))
  assert [float(v) for v in two["values"].split()] == list(_values(folder, "plain")[:2])


def test_a_config_given_as_a_suite_is_told(table):
  refused(launch("table", "--suite=configs/ss_gcn/citeseer.py", table[0][1]), "is a config", "get_suite()")


@pytest.mark.parametrize("rows", ["3", "()", "(1, 2)"])
def test_a_suite_without_rows_is_told(rows, tmp_path):
  path = tmp_path / "suite.py"
  path.write_text(f"def get_suite():\n  return {rows}\n")
  done = launch("table", f"--suite={path}", f"--workdir={tmp_path}")
  refused(done, str(path), "get_suite() must return a tuple of vita_jax.report.suite.Row, at least one")
