"""Learned optimizers: what a meta-gradient costs, what it needs of memory, and what an update costs."""

from __future__ import annotations

import contextlib
import importlib.util
import statistics
from collections.abc import Sequence

from benchmarks.measure import answer, interleaved, print_table, worker

KINDS = ("l2o_dm", "rnnprop", "l2o_mlp", "l2o_scale", "vita_mlp")


def main(*, sizes: Sequence[int] = (1_000_000, 20_000_000), repeats: int = 5, seconds: float = 5.0) -> None:
  _meta_gradients(repeats, seconds)
  _memory()
  _first_updates(repeats)
  for size in sizes:
    _updates(size, repeats, seconds)


def _meta_gradients(repeats, seconds):
  commands = {"matmul": ("l2o.meta_gradient", "matmul")} | {
    kind: ("l2o.meta_gradient", kind) for kind in KINDS
  }
  if importlib.util.find_spec("learned_optimization"):
    commands["google/learned_optimization, MLP"] = ("l2o.google_mlp",)
  with contextlib.ExitStack() as stack:
    workers = {name: stack.enter_context(worker(*command)) for name, command in commands.items()}
    costs = interleaved(workers, repeats=repeats, seconds=seconds)
    facts = {name: one.facts for name, one in workers.items()}
  rate = facts["matmul"]["gflop"] / costs["matmul"].wall
  rows = [["", "wall s", "CPU s", "first call s", "GFLOP", "GFLOP/s", "% of matmul"]]
  for name in list(commands)[1:]:
    wall, cpu = costs[name]
    flops = facts[name]["gflop"]
    numbers = [f"{flops:.0f}", f"{flops / wall:.0f}", f"{100 * flops / wall / rate:.0f}"]
    rows.append([name, f"{wall:.3f}", f"{cpu:.3f}", f"{facts[name]['first_call']:.1f}", *numbers])
  print_table("meta-gradient of 8 networks (784-20-10, batch 128), 20 steps; useful FLOPs: 3 x forward", rows)
  print(f"  a product of 2048 x 2048 matrices: {rate:.0f} GFLOP/s; medians of {repeats} turns")
  if len(commands) == 1 + len(KINDS):
    print("  google/learned_optimization is not installed: without its line")


def _memory():
  rows = [["segment of 20 steps of l2o_dm, MB", "all states kept", "every 5th", "every 10th"]]
  for size in (15_910, 1_500_000):
    found = [answer("l2o.meta_gradient", "memory", "l2o_dm", size, every) for every in (1, 5, 10)]
    rows.append([f"{size:,} parameters", *(f"{n / 1e6:,.0f}" for n in found)])
  print_table("memory beside the arguments, as compiled (config.save_every)", rows)


def _first_updates(repeats):
  names = ("adam", "adafactor", *KINDS)
  seconds: dict[str, list[float]] = {name: [] for name in names}
  for _ in range(repeats):  # in turns, so that a slow minute is everyone's
    for name in names:
      seconds[name].append(answer("l2o.first_update", name))
  medians = {name: statistics.median(found) for name, found in seconds.items()}
  rows = [["", "CPU s", "x adam"]]
  rows += [[name, f"{x:.1f}", f"{x / medians['adam']:.1f}"] for name, x in medians.items()]
  print_table("tracing and compiling an update of 60 leaves of unlike shapes", rows)


def _updates(size, repeats, seconds):
  header = ["", "wall ms", "coordinates/s", "x adam (CPU)", "state, bytes/coordinate"]
  rows = []
  for kind, dtype in [(k, "float32") for k in KINDS] + [("l2o_dm", "bfloat16"), ("rnnprop", "bfloat16")]:
    with contextlib.ExitStack() as stack:  # two at once: a state takes gigabytes
      commands = {"adam": ("adam", size, "float32"), kind: (kind, size, dtype)}
      workers = {n: stack.enter_context(worker("l2o.apply", *c)) for n, c in commands.items()}
      costs = interleaved(workers, repeats=repeats, seconds=seconds)
      of_state = {n: w.facts["bytes_per_coordinate"] for n, w in workers.items()}
    for name in ("adam", kind) if not rows else (kind,):
      cost, adam = costs[name], costs["adam"]
      title = name if dtype == "float32" else f"{name}, {dtype} state"
      ratio = f"{cost.wall / adam.wall:.1f} ({cost.cpu / adam.cpu:.1f})"
      rows.append(
        [title, f"{cost.wall * 1e3:.2f}", f"{size / cost.wall:.2e}", ratio, f"{of_state[name]:.1f}"]
      )
  print_table(f"an update of {size:,} parameters; medians of {repeats} turns", [header, *rows])
