"""How long a call takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def measure_latency(run: Callable[[], Any], *, repeats: int = 10) -> dict[str, float]:
  """Measures the wall time of a call, after a first one that compiles: median and 95th percentile.

  Args:
    run: called without arguments; what it returns is waited for.
    repeats: timed calls.

  Returns:
    {"p50": seconds, "p95": seconds}.

  Examples:
    >>> sorted(measure_latency(lambda: sum(range(100)), repeats=2))
    ['p50', 'p95']
  """
  jax.block_until_ready(run())
  seconds = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(run())
    seconds.append(time.perf_counter() - start)
  return {f"p{q}": float(np.percentile(seconds, q)) for q in (50, 95)}
