"""Every config equals its golden text, and every config file has one."""

import importlib

import pytest
from laws.table import rows_of

from golden.update import CONFIGS, GOLDEN, ROOT, config_of, golden_file, resolved
from vita_jax import papers
from vita_jax.base.files import load_python_file
from vita_jax.base.keys import flat
from vita_jax.train.config import KEYS


@pytest.mark.parametrize("path,argument", [(p, a) for p, arguments in CONFIGS.items() for a in arguments])
def test_a_config_equals_its_golden_text(path, argument):
  golden = golden_file(path, argument)
  assert golden.exists(), f"{path} is new: run python tests/golden/update.py and commit {golden.name}"
  assert resolved(path, argument) == golden.read_text(), (
    "the config changed; if that is meant, run python tests/golden/update.py and commit the diff"
  )


def test_no_golden_text_is_of_a_config_that_is_gone():
  assert not [path.name for path in GOLDEN if config_of(path) is None]


@pytest.mark.parametrize("paper", papers.PAPERS)
def test_a_paper_has_all_that_a_paper_has(paper):
  """CONTRIBUTING.md, "How to add a paper", says what each of them is."""
  assert (ROOT / "configs" / paper / "table.py").exists(), f"write configs/{paper}/table.py: get_suite()"
  assert (ROOT / "vita_jax" / "papers" / paper / "README.md").exists(), "write the paper's README.md"
  assert (ROOT / "tests" / "papers" / paper).is_dir(), f"write its oracles in tests/papers/{paper}"
  rows = rows_of(paper)
  assert rows, f"write tests/papers/{paper}/laws.py: ROWS, small settings that every law is held against"
  assert all(name.startswith(paper) for name in rows), f"the names of its rows begin with {paper}"
  steps = ROOT / "launch" / "benchmarks" / paper / "gpu.py"
  compare = steps.with_name("compare.py")
  assert compare.exists(), f"write {compare.relative_to(ROOT)}: main, what launch/benchmark.py {paper} calls"
  assert steps.exists(), f"write launch/benchmarks/{paper}/gpu.py: steps(small), what make gpu times"
  folder = ROOT / "vita_jax" / "papers" / paper
  for name in ("recipe", "steps", "report", "export"):
    assert (folder / f"{name}.py").exists(), f"write {name}.py, named so in every paper"
  for name in ("KEYS", "Recipe", "default_config", "check", "recipe_of"):
    assert hasattr(importlib.import_module(f"vita_jax.papers.{paper}.recipe"), name), f"recipe.py: {name}"
  lines = sum(len(path.read_text().splitlines()) for path in folder.glob("*.py"))
  files = len(list(folder.glob("*.py")))
  assert files <= 16 and lines <= 1800, f"{files} files, {lines} lines: move out what serves anyone"


@pytest.mark.parametrize("path,argument", [(p, arguments[0]) for p, arguments in CONFIGS.items()])
def test_every_key_of_a_config_is_explained(path, argument):
  config = load_python_file(ROOT / path).get_config(*([argument] if argument else []))
  known = {key.name: key for key in (*KEYS, *papers.keys(config.paper))}
  assert flat(config).keys() <= known.keys()
  for key in known.values():
    assert key.meaning.endswith((".", ")")) and key.allowed.text not in ("", "any value"), key
    # Where nothing is allowed, a config file must say it.
    assert key.default == "" or key.holds(key.default), f"the default of {key.name} breaks its own rule"
    for wrong in (None, object(), {"a": 1}, b"x"):
      assert not key.holds(wrong), f"{key.name} takes {wrong}: its rule must say what is allowed"
    if type(key.default) is int:
      assert not key.holds(1.5) and "whole" in key.allowed.text or "odd" in key.allowed.text, key
