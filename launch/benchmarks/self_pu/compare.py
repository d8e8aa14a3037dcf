"""Self-PU on MNIST: an epoch of all of it, the nnPU step beside torch, and what calibration costs."""

from __future__ import annotations

import contextlib
from typing import Any

from benchmarks.measure import ask, interleaved, print_table, worker

KINDS = {  # of self_pu/steps.py, in the order of the table
  "nnpu": "nnPU step, one student",
  "calibrated": "calibrated step, closed form",
  "second_order": "calibrated step, differentiated twice",
}


def main(*, images: str = "mnist", repeats: int = 5, seconds: float = 5.0) -> None:
  with contextlib.ExitStack() as stack:

    def start(*arguments: str) -> Any:
      return stack.enter_context(worker(*arguments))

    workers = {kind: start("self_pu.steps", kind, images) for kind in KINDS}
    workers["matmul"] = start("self_pu.steps", "matmul", images)
    torch = None
    try:
      torch = workers["torch"] = start("self_pu.torch_steps", images)
    except RuntimeError as error:
      print(f"without the comparison to torch: {error}")
    found = interleaved(workers, repeats=repeats, seconds=seconds)
    rate = workers["matmul"].facts["flops"] / found["matmul"].wall
    rows = [["one step", "ms", "CPU ms", "GFLOP/s", "of the matmul rate", "x nnPU"]]
    for kind, title in KINDS.items():
      cost, flops = found[kind], workers[kind].facts["flops"]
      speed = flops / cost.wall
      ratio = cost.wall / found["nnpu"].wall
      numbers = [
        f"{cost.wall * 1e3:.2f}",
        f"{cost.cpu * 1e3:.2f}",
        f"{speed / 1e9:.1f}",
        f"{speed / rate:.0%}",
      ]
      rows.append([title, *numbers, f"{ratio:.2f}"])
    if torch:
      cost = found["torch"]
      ratio = f"{cost.wall / found['nnpu'].wall:.2f}"
      title = f"nnPU step, torch, {torch.facts['threads']} thread(s)"
      rows.append([title, f"{cost.wall * 1e3:.2f}", f"{cost.cpu * 1e3:.2f}", "", "", ratio])
    title = (
      f"Self-PU, {images}: medians of {repeats} turns; a matrix product runs at {rate / 1e9:.0f} GFLOP/s"
    )
    print_table(title, rows)
  with worker("self_pu.steps", "epoch", images) as whole:
    cost = ask(whole, max(1, repeats // 2))
    examples, flops = whole.facts["examples"], whole.facts["flops"]
    speed = flops / cost.wall
    print_table(
      f"one epoch of both students and both teachers ({whole.facts['steps']} steps)",
      [
        ["s", "µs an example", "GFLOP/s", "of the matmul rate"],
        [
          f"{cost.wall:.2f}",
          f"{cost.wall / examples * 1e6:.2f}",
          f"{speed / 1e9:.1f}",
          f"{speed / rate:.0%}",
        ],
      ],
    )
