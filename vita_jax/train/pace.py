"""How many steps one compiled call takes, and streamed batches brought to the device ahead of time."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator

import jax
import numpy as np
from jax.sharding import NamedSharding

from vita_jax.data.stream import Stream, batches
from vita_jax.train.batches import row_layout, stage_data
from vita_jax.train.experiment import Stage

SECONDS_PER_CALL = 0.25  # short enough that an interrupt is answered at once, long enough to hide the host


class Pace:
  """Chooses the chunk length from the measured speed; a fixed `steps_per_call` is used as it is."""

  def __init__(self, steps_per_call: int):
    self.single = steps_per_call == 1  # the step at the top level of a program, not inside a loop
    self.length = steps_per_call or 1
    self._fixed = bool(steps_per_call)
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


def streamed_batches(
  stage: Stage, seeds: jax.Array, start: int, mesh: jax.sharding.Mesh, stack: contextlib.ExitStack
) -> Iterator[dict] | None:
  """Batches `start, start + 1, ...` of the Stream data of a stage, already on the devices of the mesh.

  None when the stage has none. A background thread reads and transfers two batches ahead; it ends with
  `stack`. What goes wrong there is raised here.
  """
  streams = {name: d for name, d in stage_data(stage).items() if isinstance(d, Stream)}
  if not streams:
    return None
  listed = np.asarray(seeds)
  chosen = listed.tolist() if listed.ndim else int(listed)
  sources = {name: batches(data, chosen, start) for name, data in streams.items()}
  layouts = {name: row_layout(data, replicated=listed.ndim > 0) for name, data in streams.items()}
  targets = {name: NamedSharding(mesh, layout) for name, layout in layouts.items()}
  ready: queue.Queue = queue.Queue(maxsize=2)
  stop = threading.Event()

  def offer(item) -> None:
    while not stop.is_set():
      with contextlib.suppress(queue.Full):
        return ready.put(item, timeout=0.1)

  def read() -> None:
    try:
      while not stop.is_set():
        offer({name: jax.device_put(next(source)[1], targets[name]) for name, source in sources.items()})
    except BaseException as error:
      offer(error)
    for source in sources.values():
      source.close()

  def take() -> Iterator[dict]:
    while True:
      item = ready.get()
      if isinstance(item, BaseException):
        raise item
      yield item

  thread = threading.Thread(target=read, daemon=True)
  thread.start()
  stack.callback(lambda: (stop.set(), thread.join(timeout=5)))
  return take()
