"""GAN Slimming: a step beside torch, what gates and quantisation add, its layers, and stylising a picture."""

from __future__ import annotations

import contextlib

from benchmarks.measure import Cost, answer, interleaved, print_table, worker

KINDS = ("gs32", "gs8", "without gates")  # of gpu.py
STYLIZE = {"dense": "dense, float32", "small": "35 % of the multiply-adds, float32", "int8": "the same, int8"}


def main(*, repeats: int = 5, seconds: float = 5.0) -> None:
  _steps(repeats, seconds)
  _layers()
  _stylize(repeats, seconds)


def _steps(repeats: int, seconds: float) -> None:
  with contextlib.ExitStack() as stack:
    names = (*KINDS, "matmul")
    workers = {name: stack.enter_context(worker("gan_slimming.steps", name)) for name in names}
    for kind in ("gs32", "gs8"):
      try:
        workers[f"{kind}, torch"] = stack.enter_context(worker("gan_slimming.torch_steps", kind))
      except RuntimeError as error:
        print(f"without the comparison to torch: {error}")
        break
    costs = interleaved(workers, repeats=repeats, seconds=seconds)
    flops, matmul = workers["gs32"].facts["flops"], workers["matmul"].facts["flops"]
  rate = matmul / costs.pop("matmul").wall
  plain = costs["without gates"]
  rows = [["step", "wall ms", "CPU ms", "of the matmul rate", "x without gates", "torch / ours, wall", "CPU"]]
  for name, cost in costs.items():
    row = [*_milliseconds(name, cost), f"{flops / cost.wall / rate:.0%}", f"{cost.cpu / plain.cpu:.2f}"]
    torch = costs.get(f"{name}, torch")
    rows.append(
      [*row, *([f"{torch.wall / cost.wall:.2f}", f"{torch.cpu / cost.cpu:.2f}"] if torch else ["", ""])]
    )
  title = f"base 24, 4 blocks, 8 crops of 64 x 64; a matrix product runs at {rate / 1e9:.0f} GFLOP/s"
  print_table(title, rows)


def _layers() -> None:
  found = answer("gan_slimming.layers")
  rows = [["layer, forward + backward", "GFLOP", "top ms", "of the matmul rate", "in a loop ms", "of it"]]
  for row in found["rows"]:
    cells = [f"{row['network']} {row['layer']}", f"{row['flops'] / 1e9:.2f}"]
    for seconds in row["seconds"].values():
      cells += [f"{1e3 * seconds:.1f}", f"{row['flops'] / seconds / found['rate']:.0%}"]
    rows.append(cells)
  print_table("layers by themselves", rows)


def _stylize(repeats: int, seconds: float) -> None:
  with contextlib.ExitStack() as stack:
    workers = {kind: stack.enter_context(worker("gan_slimming.stylize", kind)) for kind in STYLIZE}
    costs = interleaved(workers, repeats=repeats, seconds=seconds)
    shares = {kind: one.facts["share"] for kind, one in workers.items()}
  rows = [["generator", "wall ms", "CPU ms", "multiply-adds", "dense / this, wall", "CPU"]]
  for kind, cost in costs.items():
    dense = costs["dense"]
    speed = [f"{dense.wall / cost.wall:.2f}", f"{dense.cpu / cost.cpu:.2f}"]
    rows.append([*_milliseconds(STYLIZE[kind], cost), f"{shares[kind]:.0%}", *speed])
  print_table("stylising one picture of 256 x 256, base 24, 4 blocks", rows)


def _milliseconds(name: str, cost: Cost) -> list[str]:
  return [name, f"{1e3 * cost.wall:.1f}", f"{1e3 * cost.cpu:.1f}"]
