"""Chunks read one call late: while the host reads the metrics of one, the device computes the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
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


class NotFinite(Exception):
  """A step was not finite: `sums` holds the metric sums of its chunk."""

  def __init__(self, sums: Any):
    super().__init__("a step was not finite")
    self.sums = sums


class LaggedReader:
  """What has been read of the chunks of a stage.

  Attributes:
    landed: steps of the stage that are known to be done.
    over: whether the stage is known to be over.
  """

  def __init__(self, at: int, steps: int, *, lag: int):
    """Starts at step `at` of `steps`; `lag` chunks may stay unread."""
    self.landed, self.over = at, at >= steps
    self._steps, self._lag = steps, lag
    self._waiting: deque[Chunk] = deque()
    self._totals: Any = None

  def add(self, chunk: Chunk) -> None:
    """Takes a chunk that was just dispatched."""
    self._waiting.append(chunk)

  def read(self, *, everything: bool = False) -> Iterator[dict[str, Any]]:
    """Reads the chunks that are more than `lag` old, or all; yields a row of metrics where one is due.

    Raises:
      NotFinite: a chunk met a step that is not finite.
    """
    while len(self._waiting) > (0 if everything else self._lag):
      chunk = self._waiting.popleft()
      self._absorb(chunk)
      if chunk.log or self.over:
        yield from self.rest()

  def rest(self) -> Iterator[dict[str, Any]]:
    """Yields the metrics since the last row, if there are any, and starts anew."""
    if self._totals is not None:
      totals, self._totals = self._totals, None
      yield metrics.divide(totals)

  def _absorb(self, chunk: Chunk) -> None:
    (reached, is_bad), sums = jax.device_get((chunk.cursor, chunk.sums))
    sums = jax.tree.map(lambda x: np.asarray(x, np.float64), sums)
    if int(reached) > self.landed:
      self._totals = sums if self._totals is None else metrics.add(self._totals, sums)
    self.landed = int(reached)
    self.over = self.over or self.landed < chunk.until or self.landed >= self._steps
    if is_bad:
      raise NotFinite(sums)
