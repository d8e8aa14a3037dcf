"""The steps of AutoPose that `make gpu` times: HRNet, a search, and a network of the space by itself."""

from __future__ import annotations

import functools

from benchmarks.autopose import hrnet
from benchmarks.one_step import Step, of_config

FIGURES = "configs/autopose/figures.py"


def steps(*, small: bool) -> list[Step]:
  """Returns the steps; `small`: HRNet reduced and on 64 x 64 pictures, for a CPU, else W32 on 256 x 192."""
  kinds = {"step": "reduced HRNet, 24 x 64^2"}
  if not small:
    kinds["forward"] = "HRNet-W32, 256 x 192"
  make = functools.partial(of_config, **{"data.count": (200, 20)})
  return [
    *(
      Step(f"autopose {kind}, {title}", functools.partial(hrnet.as_step, kind, "native"))
      for kind, title in kinds.items()
    ),
    Step("autopose search, figures 16 x 64^2", make(f"{FIGURES}:search")),
    Step("autopose train, figures 24 x 64^2", make(f"{FIGURES}:retrain:all_edges")),
  ]
