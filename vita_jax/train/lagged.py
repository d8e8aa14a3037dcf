"""Chunks read one call late: while the host reads the metrics of one, the device computes the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from vita_jax import metrics
from vita_jax.train.programs import Cursor


class Chunk(NamedTuple):
  """A call that was dispatched: it should reach step `until`; `log` asks for a row of metrics at its end."""

  until: int
  cursor: Cursor
  sums: Any
  log: bool


class MetricRow(NamedTuple):
  """Training metrics, as of the step `at` of the stage: {metric: float, or a list over replicas}."""

  at: int
  values: dict[str, Any]


class NotFinite(Exception):
  """A chunk ended since its steps were not finite."""


class LaggedReader:
  """What has been read of the chunks of a stage.

  Attributes:
    landed: steps of the stage that are known to be done.
    over: whether the stage is known to be over.
    cursor, sums: of the last chunk that was read, in numpy; None before the first.
  """

  def __init__(self, at: int, steps: int, *, lag: int, failed: Callable[[Any], Any]):
    """Starts at step `at` of `steps`; `lag` chunks may stay unread; `failed` as in `Programs`."""
    self.landed, self.over = at, at >= steps
    self.cursor: Any = None
    self.sums: Any = None
    self._steps, self._lag, self._failed = steps, lag, failed
    self._waiting: deque[Chunk] = deque()
    self._totals: Any = None

  def add(self, chunk: Chunk) -> None:
    """Takes a chunk that was just dispatched."""
    self._waiting.append(chunk)

  def read(self, *, everything: bool = False) -> Iterator[MetricRow]:
    """Reads the chunks that are more than `lag` old, or all; yields rows of metrics where they are due.

    Raises:
      NotFinite: a chunk ended because of steps that were not finite.
    """
    while len(self._waiting) > (0 if everything else self._lag):
      chunk = self._waiting.popleft()
      self._absorb(chunk)
      if chunk.log or self.over:
        yield from self.rest()

  def rest(self) -> Iterator[MetricRow]:
    """Yields the metrics since the last row, if there are any, and starts anew.

    Means over these steps are of the step `landed`; each `metrics.Last` is of its own step.
    """
    totals, self._totals = self._totals, None
    if totals is None:
      return
    rows: dict[int, dict[str, Any]] = {}
    for name, pair in totals.items():
      at = self.landed
      if isinstance(pair, metrics.Last):
        if not np.any(pair.weight):
          continue  # nothing was observed in these steps
        at = int(np.max(pair.at, where=pair.weight != 0, initial=0))
      rows.setdefault(at, {}).update(metrics.divide({name: pair}))
    for at in sorted(rows):
      yield MetricRow(at, rows[at])

  def _absorb(self, chunk: Chunk) -> None:
    self.cursor, sums = jax.device_get((chunk.cursor, chunk.sums))
    self.sums = sums = jax.tree.map(lambda x: np.asarray(x, np.float64), sums)
    reached = int(self.cursor.at)
    if reached > self.landed:
      self._totals = sums if self._totals is None else metrics.add(self._totals, sums)
    self.landed = reached
    self.over = self.over or reached < chunk.until or reached >= self._steps
    if self._failed(self.cursor.bad):
      raise NotFinite
