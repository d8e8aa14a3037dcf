"""Functions stay short enough to be read at one go: about 60 lines, docstring not counted."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST = 66


def _lengths(tree):
  """(name, lines without the docstring) of every function."""
  for node in ast.walk(tree):
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
      first = node.body[0]
      said = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
      yield node.name, node.end_lineno - node.lineno + 1 - (said and first.end_lineno - first.lineno + 1)


@pytest.mark.parametrize("folder", ["vita_jax", "launch", "configs"])
def test_no_function_is_long(folder):
  found = {}
  for path in sorted((ROOT / folder).rglob("*.py")):
    for name, lines in _lengths(ast.parse(path.read_text())):
      if lines > LONGEST:
        found[f"{path.relative_to(ROOT)}: {name}"] = lines
  assert not found


def test_a_long_function_is_found():
  text = "def f():\n  '''Says\n  much.'''\n" + "  x = 1\n" * 70
  assert list(_lengths(ast.parse(text))) == [("f", 71)]
