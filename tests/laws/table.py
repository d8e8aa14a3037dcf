"""The experiments that every law is held against: one row per distinct program, small enough for seconds.

Those of a paper are `ROWS` of tests/papers/<paper>/laws.py; the names of its rows begin with the paper's.
"""

import importlib
from pathlib import Path

from laws import digits
from laws.row import Row
from vita_jax.papers import PAPERS

TESTS = Path(__file__).parents[1]


def rows_of(paper):
  """The rows of a paper, {} where it has no laws.py yet: tests/golden says so."""
  if not (TESTS / "papers" / paper / "laws.py").exists():
    return {}
  return importlib.import_module(f"papers.{paper}.laws").ROWS


def _digits(**overrides):
  def config(folder):
    del folder
    found = digits.get_config()
    found.update({"steps": 20, "log_every": 5, **overrides})
    return found

  return Row(config, digits.build, {"data": 2})


ROWS = {
  "digits_resident": _digits(),
  "digits_stream": _digits(kind="stream"),
  "digits_bfloat16": _digits(dtype="bfloat16")._replace(tolerance=2e-2),
}
for _paper in PAPERS:
  ROWS |= rows_of(_paper)
