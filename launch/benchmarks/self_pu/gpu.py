"""The step of Self-PU that `make gpu` times: nnPU on the digits."""

from __future__ import annotations

from benchmarks.one_step import Step, of_config


def steps(*, small: bool) -> list[Step]:
  """Returns the steps; `small`, for a CPU, changes nothing here."""
  del small
  return [Step("self_pu, digits", of_config("self_pu/digits.py:nnpu"))]
