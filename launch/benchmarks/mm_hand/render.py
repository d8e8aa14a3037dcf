"""Worker: renders 32 pairs of hands of 64 x 64 pixels for each unit. Argument: n x n samples per pixel."""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.measure import serve
from vita_jax.data.sources import source_files
from vita_jax.hands import load_rig, render_hands

PAIRS, SIZE = 32, 64


def main(antialias: int) -> None:
  name = "left" if source_files("hand/left") else "makehuman_left"
  rng = np.random.default_rng(0)
  photographs = [rng.integers(0, 256, (128, 192, 3), np.uint8) for _ in range(60)]
  rig, done = load_rig(name), 0

  def several(n: int) -> None:
    nonlocal done
    render_hands(
      0,
      rig,
      number=2 * PAIRS * n,
      size=SIZE,
      backgrounds=photographs,
      first=done,
      antialias=antialias,
    )
    done += 2 * PAIRS * n

  several(1)
  serve(several, rig=name)


if __name__ == "__main__":
  main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
