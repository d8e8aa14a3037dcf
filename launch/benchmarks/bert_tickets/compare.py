"""A fine-tune step of BERT: vita_jax, with and without a mask, against transformers; and pruning."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from benchmarks.measure import answer, interleaved, print_table, worker

BATCH, LENGTH = 32, 128
# layers, hidden, heads, feed-forward, vocabulary
MODELS = {
  "tiny": (2, 128, 2, 512, 30522),
  "mini": (4, 256, 4, 1024, 30522),
  "minilm_l3": (3, 384, 12, 1536, 30522),
  "micro": (1, 16, 2, 32, 100),  # for tests
}


def main(
  *,
  models: Sequence[str] = ("tiny", "mini", "minilm_l3"),
  repeats: int = 5,
  seconds: float = 5.0,
  weights: int = 90_000_000,
) -> None:
  if unknown := sorted(set(models) - set(MODELS)):
    raise ValueError(f"--models={unknown[0]} is none of {', '.join(MODELS)}")
  rate = answer("bert_tickets.matmul")
  for model in models:
    _steps(model, rate, repeats=repeats, seconds=seconds)
  _pruning(weights)


def flops(model: str) -> float:
  """Multiplications and additions of the matrix products of one step: forward, and twice that backward."""
  layers, hidden, _, feed_forward, _ = MODELS[model]
  matrices = layers * (4 * hidden**2 + 2 * hidden * feed_forward)
  attention = layers * 2 * LENGTH * hidden  # scores and context, for each token
  return 3 * 2 * BATCH * LENGTH * (matrices + attention)


def _steps(model: str, rate: float, *, repeats: int, seconds: float) -> None:
  commands = {
    "transformers, 1 thread": ("bert_tickets.torch_steps", model, 1),
    "transformers, 2 threads": ("bert_tickets.torch_steps", model, 2),
    "vita_jax": ("bert_tickets.steps", model, 0, 1),
    "vita_jax, 90 % pruned": ("bert_tickets.steps", model, 0.9, 1),
    "vita_jax, four steps in a loop": ("bert_tickets.steps", model, 0, 4),
  }
  with contextlib.ExitStack() as stack:
    workers = {name: stack.enter_context(worker(*command)) for name, command in commands.items()}
    costs = interleaved(workers, repeats=repeats, seconds=seconds)
  best = min(list(costs)[:2], key=lambda name: costs[name].wall)
  header = [
    "one step",
    "wall ms",
    "CPU ms",
    f"x {best} (CPU)",
    "x vita_jax (CPU)",
    "tokens/s",
    "% of matmul rate",
  ]
  rows = [header]
  for name, cost in costs.items():
    ratios = [f"{costs[n].wall / cost.wall:.2f} ({costs[n].cpu / cost.cpu:.2f})" for n in (best, "vita_jax")]
    share = 100 * flops(model) / cost.wall / rate
    numbers = [f"{cost.wall * 1e3:.1f}", f"{cost.cpu * 1e3:.1f}", *ratios]
    rows.append([name, *numbers, f"{BATCH * LENGTH / cost.wall:.0f}", f"{share:.0f}"])
  layers, hidden, heads, *_ = MODELS[model]
  title = f"BERT {model} ({layers}/{hidden}/{heads}), batch {BATCH} x {LENGTH}, float32"
  print_table(f"{title}: medians of {repeats} turns of {seconds:g} s; matmul {rate / 1e9:.0f} GFLOP/s", rows)


def _pruning(weights: int) -> None:
  rows = [["global magnitude pruning to 70 %", "million weights", "seconds", "further memory / weights"]]
  for how in ("host", "jit"):
    found = answer("bert_tickets.prune", how, weights)
    numbers = [f"{found['weights'] / 1e6:.1f}", f"{found['seconds']:.2f}", f"{found['memory']:.2f}"]
    rows.append([f"magnitude_masks, {how}", *numbers])
  print_table("the matrices of BERT-base, cut to --weights; peak resident memory beyond the weights", rows)
