"""Every suite's rows name what there is, so that no table stops after hours at a row that cannot run."""

import functools
import runpy

import pytest

from golden.update import ROOT
from vita_jax import papers

SUITES = sorted(ROOT.glob("configs/*/table*.py"))


def _label(path):
  return f"{path.parent.name}/{path.stem}"


_module = functools.cache(lambda name: runpy.run_path(str(ROOT / name)))


@pytest.mark.parametrize("path", SUITES, ids=_label)
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


@pytest.mark.parametrize("path", SUITES, ids=_label)
def test_a_suite_of_no_finished_rows_ends_with_text_too(path, tmp_path):
  module = runpy.run_path(str(path))
  assert isinstance(module.get("finish", lambda *_: "")({}, tmp_path), str)


@pytest.mark.parametrize(
  ("config", "changes"),
  [
    ("configs/gan_slimming/cartoon.py:gs32", {"method": "gs8"}),
    ("configs/gan_slimming/cartoon.py:gs8", {"method": "gs32"}),
    ("configs/adv_logo/person.py:single_angle", {"method": "logo"}),
    ("configs/self_pu/digits.py:nnpu", {"method": "self_pu"}),
    ("configs/asg/fonts.py:proxy", {"method": "asg"}),
    ("configs/l2o/mlp.py:plain", {"variant": "cl_il"}),
  ],
)
def test_the_name_of_a_method_alone_is_refused(config, changes):
  """Otherwise a run of one method would be filed under another's name."""
  path, _, argument = config.partition(":")
  found = _module(path)["get_config"](argument)
  papers.check(found)
  found.update(changes)
  with pytest.raises(ValueError, match="config's argument"):
    papers.check(found)
