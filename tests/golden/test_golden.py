"""Every config equals its golden text, and every config file has one."""

from pathlib import Path

import pytest

from golden.update import CONFIGS, ROOT, golden_file, resolved
from vita_jax import papers


@pytest.mark.parametrize("path,argument", [(p, a) for p, arguments in CONFIGS.items() for a in arguments])
def test_a_config_equals_its_golden_text(path, argument):
  assert resolved(path, argument) == golden_file(path, argument).read_text(), (
    "the config changed; if that is meant, run tests/golden/update.py and commit the diff"
  )


def test_every_config_file_is_listed():
  found = {str(p.relative_to(ROOT)) for p in (ROOT / "configs").glob("*/*.py")}
  assert {p for p in found if not Path(p).name.startswith("table")} == set(CONFIGS)


def test_every_paper_has_configs_and_a_suite():
  for paper in papers.PAPERS:
    assert (ROOT / "configs" / paper / "table.py").exists()
