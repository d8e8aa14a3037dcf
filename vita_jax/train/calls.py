"""The compiled calls of one stage, one after the other: chunks of Resident data, or single steps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax
import numpy as np

from vita_jax.train.experiment import Stage, State
from vita_jax.train.lagged import Chunk
from vita_jax.train.pace import streamed_batches
from vita_jax.train.programs import Cursor, Programs


class Calls:
  """Dispatches the steps of a stage; the cursor goes from call to call on the device."""

  def __init__(
    self,
    programs: Programs,
    stage: Stage,
    state: State,
    seeds: jax.Array,
    cursor: Cursor,
    stack: contextlib.ExitStack,
    *,
    single: bool,
  ):
    """Starts where `cursor` says; the readers of streamed data end with `stack`.

    Args:
      programs: of the run.
      stage: whose steps are taken.
      state: as the stage has it, for its shapes.
      seeds: uint32, one seed or [replicas].
      cursor: from `Programs.cursor`.
      stack: of the stage.
      single: take single steps of Resident data, too.
    """
    self._programs, self._seeds, self._cursor = programs, seeds, cursor
    self._chunk, self._single = programs.chunk(stage, state), programs.single(stage, state)
    self._stream = streamed_batches(stage, seeds, int(cursor.at), programs.mesh, stack)
    self._one_by_one = single or self._stream is not None

  def take(self, state: State, at: int, until: int, *, log: bool) -> Iterator[tuple[State, Chunk]]:
    """Dispatches the steps `at` to `until`; yields after each call. `log` asks for a row at the end."""
    if not self._one_by_one:
      limit = self._programs.place(np.int32(until))
      with jax.transfer_guard("disallow"):  # a transfer that nobody asked for would wait for the device
        state, self._cursor, sums = self._chunk(state, self._seeds, self._cursor, limit)
      yield state, Chunk(until, self._cursor, sums, log)
      return
    for number in range(at + 1, until + 1):
      batch = next(self._stream) if self._stream else {}
      with jax.transfer_guard("disallow"):
        state, self._cursor, sums = self._single(state, self._seeds, self._cursor, batch)
      yield state, Chunk(number, self._cursor, sums, log and number == until)
