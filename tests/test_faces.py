"""Every public name is reached by attribute from `import vita_jax`, and every example of a docstring runs."""

import ast
import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from launch.commands import ROOT, environment

import vita_jax

PACKAGE = ROOT / "vita_jax"
MODULES = sorted(
  module.name
  for module in pkgutil.walk_packages([str(PACKAGE)], "vita_jax.")
  if not any(part.startswith("_") for part in module.name.split(".")[1:])
)
PACKAGES = [module.name for module in pkgutil.walk_packages([str(PACKAGE)], "vita_jax.") if module.ispkg]
WALK = """
import sys, vita_jax
for name in sys.argv[1:]:
  found = vita_jax
  for part in name.split(".")[1:]:
    found = getattr(found, part)
"""


def _docstrings(name):
  path = PACKAGE.joinpath(*name.split(".")[1:])
  path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
  return path.read_text(encoding="utf-8")


def test_every_module_is_reached_by_attribute_in_a_fresh_process():
  command = [sys.executable, "-c", WALK, *MODULES]
  done = subprocess.run(command, env=environment(), capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("name", ["vita_jax", *PACKAGES])
def test_a_package_says_what_it_offers_and_has_it(name):
  package = importlib.import_module(name)
  assert package.__doc__ and len(set(package.__all__)) == len(package.__all__) > 0
  for public in package.__all__:
    assert not public.startswith("_") and getattr(package, public) is not None
  assert set(package.__all__) <= set(dir(package))


def test_the_readme_lists_every_folder_of_the_package():
  text = (ROOT / "README.md").read_text(encoding="utf-8")
  listed = set(re.findall(r"^vita_jax/(\w+) ", text, re.MULTILINE))
  folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"configs", "launch"}
  assert listed == folders


# What a public function says first, where it is no verb: these end in "s" and are none.
NOUNS = {"Batches", "Buckets", "Maxima", "Means", "Pairs", "Rows", "Steps", "Weights", "Whether"}


def _public(tree):
  """(name, node, is a method) of the functions of a module and of its classes."""
  for node in tree.body:
    if isinstance(node, ast.FunctionDef):
      yield node.name, node, False
    elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
      for inner in node.body:
        properties = [ast.unparse(one) for one in getattr(inner, "decorator_list", ())]
        if isinstance(inner, ast.FunctionDef) and not any("property" in one for one in properties):
          yield f"{node.name}.{inner.name}", inner, True


@pytest.mark.parametrize("name", MODULES)
def test_a_public_function_says_what_it_does(name):
  """One sentence that begins with a verb: "Computes ...". (A method without docstring is its protocol's.)"""
  for function, node, is_method in _public(ast.parse(_docstrings(name))):
    text = ast.get_docstring(node) or ""
    if node.name.startswith("_") or (is_method and not text):
      continue
    first = (text.split() or [""])[0].rstrip(",:")
    assert first.isalpha() and first.endswith("s") and first.istitle() and first not in NOUNS, (
      f"{name}.{function} says '{text[:40]}': begin with a verb, e.g. 'Computes'"
    )


@pytest.mark.parametrize("name", MODULES)
def test_each_argument_has_a_line_of_its_own(name):
  """What the API site needs: the names under `Args:` are those of the signature."""
  for function, node, _ in _public(ast.parse(_docstrings(name))):
    section = re.search(r"^Args:\n(.*?)(?=\n\S|\Z)", ast.get_docstring(node) or "", re.DOTALL | re.MULTILINE)
    named = re.findall(r"^  (\S[^:\n]*):", section[1], re.MULTILINE) if section else []
    signature = node.args
    known = [x.arg for x in (*signature.posonlyargs, *signature.args, *signature.kwonlyargs)]
    known += [x.arg for x in (signature.vararg, signature.kwarg) if x]
    assert not [x for x in named if x.lstrip("*") not in known], f"{name}.{function}: it takes {known}"


@pytest.mark.parametrize("name", [name for name in MODULES if ">>> " in _docstrings(name)])
def test_an_example_stands_under_examples(name):
  """Elsewhere the API site takes its brackets for links."""
  for function, node, _ in _public(ast.parse(_docstrings(name))):
    before, prompt, _ = (ast.get_docstring(node) or "").partition("  >>> ")
    assert not prompt or "Examples:\n" in before, f"{name}.{function}: write 'Examples:' above the example"


def test_a_name_that_is_not_there_is_answered_by_those_that_are():
  for found, name in ((vita_jax, "optimizers"), (vita_jax.nn, "cnn"), (vita_jax.papers, "ss_gnn")):
    with pytest.raises(AttributeError, match=f"no attribute '{name}': its modules are .*"):
      getattr(found, name)


@pytest.mark.parametrize("name", [name for name in MODULES if ">>> " in _docstrings(name)])
def test_the_examples_of_a_docstring_run(name):
  options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
  found = doctest.testmod(importlib.import_module(name), optionflags=options)
  assert found.attempted and not found.failed


def test_the_python_of_the_readme_runs():
  blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
  assert blocks
  scope: dict = {}
  for block in blocks:
    exec(compile(block, "README.md", "exec"), scope)
  assert "tx" in scope and float(scope["metrics"]["loss"][0]) > 0


def test_the_commands_of_the_readme_name_files_that_exist():
  text = (ROOT / "README.md").read_text(encoding="utf-8")
  named = set(re.findall(r"(?:launch|configs|tests|vita_jax|colabs|docs)/[\w/.]+\w", text))
  assert len(named) > 10
  assert not [name for name in sorted(named) if not (ROOT / name).exists()]


def test_the_root_is_a_face_without_code_of_its_own():
  tree = ast.parse(Path(vita_jax.__file__).read_text(encoding="utf-8"))
  imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
  assert imported == ["vita_jax._lazy"]
