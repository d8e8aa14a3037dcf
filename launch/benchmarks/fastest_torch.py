"""A PyTorch step in the fastest of four settings, as the worker of a comparison."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from benchmarks.measure import now, serve, since
from vita_jax.base.memory import keep_freed_memory

TRIALS = 4  # steps by which a setting is judged


def serve_fastest(torch: Any, make_step: Callable[[Any], Callable[[], None]]) -> None:
  """Serves `make_step(memory format)`, with one or two threads and either memory format."""
  keep_freed_memory()  # as on the other side
  found = {}
  for threads, name in itertools.product((1, 2), ("contiguous_format", "channels_last")):
    torch.set_num_threads(threads)
    step = make_step(getattr(torch, name))
    step(), step()
    start = now()
    for _ in range(TRIALS):
      step()
    found[threads, name] = (since(start).wall, step)
  threads, name = min(found, key=lambda setting: found[setting][0])
  torch.set_num_threads(threads)
  step = found[threads, name][1]
  serve(lambda n: [step() for _ in range(n)], threads=threads, memory=name)
