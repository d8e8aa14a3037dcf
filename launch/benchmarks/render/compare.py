"""The renderer: what visibility, texture gradients and soft silhouettes cost, by faces and by pixels."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from benchmarks.measure import interleaved, print_table, worker

KINDS = (
  ("visibility", 256),
  ("visibility", 512),
  ("texture, cached", 256),
  ("texture, recomputed", 256),
  ("silhouette", 128),
)


def main(*, sizes: Sequence[int], repeats: int, seconds: float) -> None:
  rows = [["faces", "what", "pixels", "wall ms", "CPU ms"]]
  for size in sizes:
    with contextlib.ExitStack() as stack:
      workers = {
        f"{kind} {side}": stack.enter_context(worker("render.steps", kind, size, side))
        for kind, side in KINDS
      }
      costs = interleaved(workers, repeats=repeats, seconds=seconds)
      facts = next(iter(workers.values())).facts
    for kind, side in KINDS:
      cost = costs[f"{kind} {side}"]
      numbers = [f"{side} x {side}", f"{1000 * cost.wall:.1f}", f"{1000 * cost.cpu:.1f}"]
      rows.append([f"{facts['faces']:,}", kind, *numbers])
  print_table("a tube around a trefoil knot, 256 x 256 texture, perspective camera", rows)
  print("  texture, silhouette: value and gradient (to texture, to vertices); medians of the turns")
