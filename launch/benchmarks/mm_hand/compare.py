"""MM-Hand: a step beside torch, its maps, rendering what it learns from, and layers by themselves."""

from __future__ import annotations

import contextlib

from benchmarks.measure import answer, interleaved, print_table, worker


def main(*, repeats: int = 5, seconds: float = 5.0) -> None:
  with contextlib.ExitStack() as stack:
    workers = {kind: stack.enter_context(worker("mm_hand.step", kind)) for kind in ("step", "maps")}
    try:
      workers["step, torch"] = stack.enter_context(worker("mm_hand.torch_step"))
    except RuntimeError as error:
      print(f"without the comparison to torch: {error}")
    workers["rendering 4 pairs"] = stack.enter_context(worker("mm_hand.render"))
    costs = interleaved(workers, repeats=repeats, seconds=seconds)
  costs["rendering 4 pairs"] = costs["rendering 4 pairs"].per(8)  # of its 32
  rows = [["what", "wall ms", "CPU ms", "of a step, wall", "torch / this, wall", "CPU"]]
  for name, cost in costs.items():
    torch = costs.get(f"{name}, torch")
    cells = [f"{torch.wall / cost.wall:.2f}", f"{torch.cpu / cost.cpu:.2f}"] if torch else ["", ""]
    share = f"{cost.wall / costs['step'].wall:.0%}"
    rows.append([name, f"{1e3 * cost.wall:.1f}", f"{1e3 * cost.cpu:.1f}", share, *cells])
  print_table("generator and both judges: width 12, 3 blocks, 4 pairs of 64 x 64", rows)
  found = answer("mm_hand.layers")
  rows = [
    ["layer, forward + backward", "of a step", "GFLOP each", "ms each", "of the matmul rate", "native ms"]
  ]
  for row in found["rows"]:
    share = f"{row['flops'] / row['seconds'] / found['rate']:.0%}"
    cells = [f"{row['count']}", f"{row['flops'] / 1e9:.2f}", f"{1e3 * row['seconds']:.1f}", share]
    cells.append(f"{1e3 * row['native']:.1f}")
    rows.append([row["layer"], *cells])
  print_table(f"layers; a matrix product runs at {found['rate'] / 1e9:.0f} GFLOP/s", rows)


if __name__ == "__main__":
  main()
