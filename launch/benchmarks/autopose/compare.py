"""AutoPose: HRNet and a reduced one beside torch, decoding beside a NumPy loop, and steps of a search."""

from __future__ import annotations

import contextlib

from benchmarks.autopose.step import KINDS
from benchmarks.measure import interleaved, print_table, worker


def main(*, repeats: int = 5, seconds: float = 5.0) -> None:
  with contextlib.ExitStack() as stack:
    workers = {
      f"HRNet {kind}": stack.enter_context(worker("autopose.hrnet", kind)) for kind in ("forward", "step")
    }
    for kind in ("forward", "step"):
      try:
        workers[f"HRNet {kind}, torch"] = stack.enter_context(worker("autopose.torch_hrnet", kind))
      except RuntimeError as error:
        print(f"without the comparison to torch: {error}")
        break
    costs = interleaved(workers, repeats=repeats, seconds=seconds)
  rows = [["network", "wall ms", "CPU ms", "torch / this, wall", "CPU"]]
  for name, cost in costs.items():
    torch = costs.get(f"{name}, torch")
    cells = [f"{torch.wall / cost.wall:.2f}", f"{torch.cpu / cost.cpu:.2f}"] if torch else ["", ""]
    rows.append([name, f"{1e3 * cost.wall:.1f}", f"{1e3 * cost.cpu:.1f}", *cells])
  print_table("forward: W32, one picture of 256 x 192; step: reduced, 24 of 64 x 64", rows)
  _pairs("flip test and decoding of 1,000 people", "autopose.decode", ("ours", "numpy"), repeats, seconds)
  _pairs("steps on figures, 64 x 64", "autopose.step", tuple(KINDS), repeats, seconds)


def _pairs(title: str, module: str, kinds: tuple[str, ...], repeats: int, seconds: float) -> None:
  with contextlib.ExitStack() as stack:
    workers = {kind: stack.enter_context(worker(module, kind)) for kind in kinds}
    costs = interleaved(workers, repeats=repeats, seconds=seconds)
  first = costs[kinds[0]]
  rows = [["kind", "wall ms", "CPU ms", f"x {kinds[0]}, wall"]]
  for name, cost in costs.items():
    rows.append([name, f"{1e3 * cost.wall:.1f}", f"{1e3 * cost.cpu:.1f}", f"{cost.wall / first.wall:.1f}"])
  print_table(title, rows)
