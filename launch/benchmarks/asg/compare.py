"""ASG: a fine-tuning step beside torch, what proxy, policy and a cached teacher cost, and its layers."""

from __future__ import annotations

import contextlib

from benchmarks.measure import answer, interleaved, print_table, worker

KINDS = ("plain", "proxy", "cached teacher", "policy")  # of gpu.py


def main(*, repeats: int = 5, seconds: float = 5.0) -> None:
  with contextlib.ExitStack() as stack:
    workers = {kind: stack.enter_context(worker("asg.steps", kind)) for kind in KINDS}
    for kind in ("plain", "proxy"):
      try:
        workers[f"{kind}, torch"] = stack.enter_context(worker("asg.torch_steps", kind))
      except RuntimeError as error:
        print(f"without the comparison to torch: {error}")
        break
    costs = interleaved(workers, repeats=repeats, seconds=seconds)
  proxy = costs["proxy"]
  rows = [["step", "wall ms", "CPU ms", "x proxy, CPU", "torch / this, wall", "CPU"]]
  for name, cost in costs.items():
    torch = costs.get(f"{name}, torch")
    cells = [f"{torch.wall / cost.wall:.2f}", f"{torch.cpu / cost.cpu:.2f}"] if torch else ["", ""]
    share = f"{cost.cpu / proxy.cpu:.3f}"
    rows.append([name, f"{1e3 * cost.wall:.1f}", f"{1e3 * cost.cpu:.1f}", share, *cells])
  print_table("EfficientNet-Lite0, 32 pictures of 64 x 64", rows)
  _layers()


def _layers() -> None:
  rows = [["layer, forward + backward", "top ms", "native ms", "native / top"]]
  totals = {"top": 0.0, "native": 0.0}
  for row in answer("asg.layers"):
    top, native = row["seconds"]["top"], row["seconds"]["native"]
    rows.append([row["layer"], f"{1e3 * top:.2f}", f"{1e3 * native:.2f}", f"{native / top:.1f}"])
    if row["depthwise"]:
      totals = {name: totals[name] + row["seconds"][name] for name in totals}
  ratio = totals["native"] / totals["top"]
  rows.append(["all depthwise", *(f"{1e3 * x:.1f}" for x in totals.values()), f"{ratio:.1f}"])
  print_table("convolutions by themselves; native: as XLA groups them", rows)
