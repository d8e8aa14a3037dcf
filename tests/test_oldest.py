"""The lower bounds that setup.cfg states are the versions that `make oldest` tests."""

import configparser
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_lower_bounds_are_the_versions_that_make_oldest_installs():
  lines = (ROOT / "constraints-oldest.txt").read_text().split()
  oldest = dict(line.split("==") for line in lines)
  assert oldest.pop("jaxlib") == oldest["jax"]  # jax itself asks for its jaxlib
  parser = configparser.ConfigParser()
  parser.read(ROOT / "setup.cfg")
  needed = dict(line.split(">=") for line in parser["options"]["install_requires"].split() if ">=" in line)
  assert {name: needed.get(name) for name in oldest} == oldest
