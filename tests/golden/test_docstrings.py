"""The docstring of a config says how it is run, on what, how long, in how much memory, and what to expect."""

import ast
import re

import pytest

from golden.update import ROOT

ALL = sorted((ROOT / "configs").glob("*/*.py"))
NEEDED = {  # what -> a pattern, and where it is missing what to write
  "command": (r"^  python launch/(train|table)\.py --(config|suite)=configs/", "the command, indented"),
  "hardware": (r"\bHardware\b", "'Hardware: ...'"),
  "time": (
    r"(?i)\btime\b.*\b(seconds?|s|minutes?|hours?|steps of|not measured)\b",
    "'Time: ...' and its unit",
  ),
  "memory": (r"\d [GM]B\b", "the peak memory in GB"),
}


@pytest.mark.parametrize("path", ALL, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_config_says_what_it_costs_and_what_to_expect(path):
  text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
  flowing = re.sub(r"\n(?! )", " ", text)  # lines that belong together; commands stay apart
  for what, (pattern, remedy) in NEEDED.items():
    assert re.search(pattern, text if what == "command" else flowing, re.M), f"no {what}: write {remedy}"
  assert f"configs/{path.parent.name}/{path.name}" in text, "the command names another file"
  if not path.name.startswith("table"):
    assert re.search(r"\b(Expect|Numbers?)\b", text), "say which number to expect"
    assert re.search(r"\bargument\b", text, re.I), "say what the argument is, and its choices"
