"""Adversarial logos: what a training step costs beyond the detector, forward and backward on its pictures."""

from __future__ import annotations

import contextlib

from benchmarks.measure import interleaved, print_table, worker


def main(*, repeats: int = 5, seconds: float = 5.0) -> None:
  with contextlib.ExitStack() as stack:
    workers = {kind: stack.enter_context(worker("adv_logo.steps", kind)) for kind in ("detector", "step")}
    costs = interleaved(workers, repeats=repeats, seconds=seconds)
    pictures = workers["step"].facts["pictures"]
  alone = costs["detector"]
  rows = [["what", "wall ms", "CPU ms", "CPU, of the detector"]]
  for kind, cost in costs.items():
    rows.append([kind, f"{1000 * cost.wall:.1f}", f"{1000 * cost.cpu:.1f}", f"{cost.cpu / alone.cpu:.2f}"])
  print_table(f"NanoDet, {pictures} pictures of 416 x 416, forward and backward", rows)
  print("  step: median filter, augmentation, texels, antialiasing, pasting, total variation and Adam, too")
