"""The step of PCAL that `make gpu` times: one of the game, on German Credit."""

from __future__ import annotations

from benchmarks.one_step import Step, of_config


def steps(*, small: bool) -> list[Step]:
  """Returns the steps; `small`, for a CPU, changes nothing here."""
  del small
  return [Step("pcal, German, the game", of_config("pcal/german.py:age", stage=-1))]
