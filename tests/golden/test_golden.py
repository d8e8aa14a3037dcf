"""Every config equals its golden text, and every config file has one."""

from pathlib import Path

import pytest

from golden.update import CONFIGS, ROOT, golden_file, resolved
from vita_jax import papers
from vita_jax.base.files import load_python_file
from vita_jax.base.keys import flat
from vita_jax.train.config import KEYS


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


@pytest.mark.parametrize("path,argument", [(p, arguments[0]) for p, arguments in CONFIGS.items()])
def test_every_key_of_a_config_is_explained(path, argument):
  config = load_python_file(ROOT / path).get_config(*([argument] if argument else []))
  known = {key.name: key for key in (*KEYS, *papers.keys(config.paper))}
  assert flat(config).keys() <= known.keys()
  assert all(key.meaning.endswith((".", ")")) and key.rule.text for key in known.values())
