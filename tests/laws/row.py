"""What a law is held against: a small experiment, made anew in a folder."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Row(NamedTuple):
  """`config(folder)` makes a small config (files go to `folder`); `build(config)` the experiment.

  `mesh` is the layout of two devices that the experiment is tried on; `tolerance` what float
  reductions in another order may do to its metrics; `map_tolerance` the same for replicas by `map`, whose
  bits are else those of single runs. A `slow` row, minutes of compiling, is held to the laws by `make slow`.
  """

  config: Callable[[Any], Any]
  build: Callable[[Any], Any]
  mesh: dict[str, int]
  tolerance: float = 1e-5
  map_tolerance: float = 0.0
  slow: bool = False
