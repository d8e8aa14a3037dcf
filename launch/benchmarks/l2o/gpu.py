"""The step of L2O that `make gpu` times: a meta-gradient through a segment on the digits."""

from __future__ import annotations

from benchmarks.one_step import Step, of_config


def steps(*, small: bool) -> list[Step]:
  """Returns the steps; `small`, for a CPU, changes nothing here."""
  del small
  make = of_config("l2o/mlp.py:plain", **{"optimizee.name": "digits_mlp"})
  return [Step("l2o, MLP, segment of 20", make)]
