"""Worker: a training step of AutoPose on figures. Argument: a kind of `KINDS`."""

from __future__ import annotations

import sys

from benchmarks.measure import serve
from benchmarks.one_step import of_config, repeat

WARM = 300  # steps of the search's warm start, which are not measured
SEARCH = "configs/autopose/figures.py:search"
# kind -> (config, its stage, settings that differ)
KINDS = {
  "search": (SEARCH, 0, {}),
  "search, all values kept": (SEARCH, 0, {"search.remat": False}),
  "train": ("configs/autopose/figures.py:retrain:all_edges", 0, {}),
}


def main(kind: str) -> None:
  """Serves steps; those of a search follow its rounds, with their share of scoring."""
  from vita_jax.base.memory import keep_freed_memory

  keep_freed_memory()  # as launch/train.py does
  config, stage, settings = KINDS[kind]
  parts = of_config(config, stage=stage, **{"data.count": (200, 20), **settings})()
  advance = repeat(*parts, number=lambda i: WARM + i % 100)
  advance(2)
  serve(advance)


if __name__ == "__main__":
  main(sys.argv[1])
