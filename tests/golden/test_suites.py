"""Every suite's rows name what there is, so that no table stops after hours at a row that cannot run."""

import functools
import runpy

import pytest

from golden.update import ROOT
from vita_jax import papers

SUITES = sorted(ROOT.glob("configs/*/table.py"))
_module = functools.cache(lambda name: runpy.run_path(str(ROOT / name)))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.parent.name)
def test_rows_resolve_and_share_a_folder_only_if_they_are_one_run(path):
  rows = runpy.run_path(str(path))["get_suite"]()
  labels, runs = {row.label for row in rows}, {}
  assert len(labels) == len(rows) and {row.baseline for row in rows} <= {"", *labels}
  for row in rows:
    name, _, argument = row.config.partition(":")
    get_config = _module(name)["get_config"]
    config = get_config(argument) if argument else get_config()
    config.update_from_flattened_dict(dict(row.overrides))
    papers.check(config)
    assert runs.setdefault(row.folder, config.to_json()) == config.to_json(), row.label


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.parent.name)
def test_a_suite_of_no_finished_rows_ends_with_text_too(path, tmp_path):
  module = runpy.run_path(str(path))
  assert isinstance(module.get("finish", lambda *_: "")({}, tmp_path), str)
