"""How many steps until the host looks up, and streamed batches brought to the device ahead of time."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding

from vita_jax.data.stream import Stream, batches
from vita_jax.train.batches import per_replica, row_layout, stage_data
from vita_jax.train.cluster import gather
from vita_jax.train.experiment import Eval, Stage
from vita_jax.train.transfer import local_part, put_rows

SECONDS_PER_CALL = 0.25  # short enough that an interrupt is answered at once, long enough to hide the host


class Pace:
  """Chooses how many steps to take until the next look at clock and signals, by the measured speed.

  They are one compiled call, but for `steps_per_call` 1 (`single`: the step at the top level of a program,
  not inside a loop) and streamed batches, which are one call each. Another fixed number is used as it is.
  """

  def __init__(self, steps_per_call: int):
    self.single = steps_per_call == 1
    self.length = steps_per_call or 1
    self._fixed = steps_per_call > 1
    self._since: float | None = None  # None: the next call compiles, or something else took time

  def done(self, steps: int) -> None:
    """Tells that `steps` more steps are known to be finished."""
    now = time.monotonic()
    if not self._fixed and self._since is not None and steps > 0:
      wanted = SECONDS_PER_CALL * steps / max(now - self._since, 1e-9)
      self.length = int(np.clip(wanted, 1, 4 * self.length))
    self._since = now

  def reset(self) -> None:
    """Tells that the time since the last call was not spent on steps."""
    self._since = time.monotonic()


def next_mark(at: int, marks: Iterable[int], steps: int) -> int:
  """Returns the first step after `at` where something is due: a multiple of a mark, or the last step."""
  return min([steps, *(at - at % mark + mark for mark in marks if mark > 0)])


def due_at(at: int, evals: Mapping[str, Eval]) -> list[str]:
  """Returns the names of the evals that are due at step `at`."""
  return [name for name, one in evals.items() if one.every > 0 and at % one.every == 0]


def agree(length: int, saving: bool, leave: int) -> tuple[int, bool, int]:
  """Agrees what all processes do next: the main one decides on length and saving, any of them on leaving.

  Their clocks differ, and each runs the same programs in the same order or all of them wait without end.
  """
  rows = gather(np.array([length, saving, leave], np.int32))
  return int(rows[0, 0]), bool(rows[0, 1]), int(rows[:, 2].max())


def streamed_batches(
  stage: Stage, seeds: jax.Array, start: int, mesh: jax.sharding.Mesh, stack: contextlib.ExitStack
) -> Iterator[dict] | None:
  """Reads batches `start, start + 1, ...` of the Stream data of a stage, already on the devices of the mesh.

  None when the stage has none. A background thread reads and transfers two batches ahead; it ends with
  `stack`. What goes wrong there is raised here.
  """
  streams = {name: d for name, d in stage_data(stage).items() if isinstance(d, Stream)}
  if not streams:
    return None
  listed = np.asarray(seeds)
  chosen = listed.tolist() if listed.ndim else int(listed)
  layouts = {
    name: NamedSharding(mesh, row_layout(data, replicated=listed.ndim > 0)) for name, data in streams.items()
  }
  shapes = {name: (*(listed.shape if per_replica(d) else ()), d.batch_size) for name, d in streams.items()}
  sources = {
    name: batches(data, chosen, start, part=local_part(layouts[name], shapes[name]))
    for name, data in streams.items()
  }
  ready: queue.Queue = queue.Queue(maxsize=2)
  stop = threading.Event()

  def offer(item: Any) -> None:
    while not stop.is_set():
      with contextlib.suppress(queue.Full):
        return ready.put(item, timeout=0.1)

  def read() -> None:
    try:
      while not stop.is_set():
        read_now = {name: next(source)[1] for name, source in sources.items()}
        offer({name: put_rows(rows, layouts[name], shapes[name]) for name, rows in read_now.items()})
    except BaseException as error:
      offer(error)
    for source in sources.values():
      source.close()  # type: ignore[attr-defined]  # they are generators

  def take() -> Iterator[dict]:
    while True:
      item = ready.get()
      if isinstance(item, BaseException):
        raise item
      yield item

  thread = threading.Thread(target=read, daemon=True)
  thread.start()
  stack.callback(thread.join, timeout=5)
  stack.callback(stop.set)
  return take()
