"""Several processes as one run: how they join, agree on what comes next, and end together.

JAX's own service joins them and carries their words; nothing here computes. In a run of one process
every function of this file returns at once, but for the watchdog, which ends one that hangs, too.
"""

from __future__ import annotations

import contextlib
import errno
import inspect
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from vita_jax.train.errors import RunError

JOIN_SECONDS, WATCHDOG_SECONDS, BUSY_SECONDS = 300, 60, 3600
ALONE_SECONDS, ALONE_BUSY_SECONDS = 1800, 21600  # of a process that nobody waits for
LOOK_SECONDS = 1.0  # between two looks at the others
KINDS = ("auto", "none", "tpu")
_PREFIX = "vita_jax"


def launcher(environ: Mapping[str, str] = os.environ) -> str:
  """Returns "slurm", "ompi" or "tpu" where such a launcher started several processes, else "none"."""
  if int(environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
    return "slurm"
  if int(environ.get("OMPI_COMM_WORLD_SIZE", 1)) > 1:
    return "ompi"
  return "tpu" if "," in environ.get("TPU_WORKER_HOSTNAMES", "") else "none"


def join(
  *,
  cluster: str = "auto",
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
  join_seconds: int = JOIN_SECONDS,
  watchdog_seconds: int | None = None,
  busy_seconds: int | None = None,
) -> None:
  """Joins this process to the others of its run; must be called before JAX is first used.

  Args:
    cluster: one of `KINDS`; "auto" looks at the launcher's environment, "tpu" is for slices
      that tell nothing there.
    coordinator: HOST:PORT of process 0, for processes that are started by hand.
    num_processes: their number.
    process_id: which of them this one is (0, 1, ...).
    join_seconds: how long to wait for all to come.
    watchdog_seconds: how long a process may be silent, and how long all of them may be without progress,
      before all end; None: `WATCHDOG_SECONDS`, of a single process `ALONE_SECONDS`.
    busy_seconds: the same for progress while one of them does something without steps: compiles, evaluates
      a batch, saves, reports; None: `BUSY_SECONDS`, of a single process `ALONE_BUSY_SECONDS`.

  Raises:
    ValueError: a process by hand without all three of coordinator, num_processes and process_id.
    RunError: no coordinator, a number or a port that is taken.

  Where not all come in time, the process ends with one line and exit code 1: JAX cannot be interrupted.
  """
  by_hand = (coordinator, num_processes, process_id)
  if any(x is not None for x in by_hand):
    if coordinator is None or num_processes is None or process_id is None:
      raise ValueError("a process by hand needs all of --coordinator, --num_processes and --process_id")
    if not 0 <= process_id < num_processes:
      raise ValueError(f"--process_id={process_id} is not in 0 ... {num_processes - 1} (--num_processes)")
    if not coordinator.rpartition(":")[2].isdigit() or ":" not in coordinator:
      raise ValueError(f"--coordinator={coordinator} is not HOST:PORT")
    if process_id == 0:
      _check_port(coordinator)
  elif (launcher() if cluster == "auto" else cluster) == "none":
    start_watchdog(watchdog_seconds=watchdog_seconds, busy_seconds=busy_seconds)
    return
  watchdog_seconds, busy_seconds = watchdog_seconds or WATCHDOG_SECONDS, busy_seconds or BUSY_SECONDS
  if hasattr(jax.config, "jax_enable_preemption_service"):  # jax 0.8 has none
    jax.config.update("jax_enable_preemption_service", False)  # the loop's own handler agrees on the step
  timer = threading.Timer(join_seconds, _nobody_came, (join_seconds, process_id == 0))
  timer.start()
  try:
    jax.distributed.initialize(
      *by_hand,
      initialization_timeout=join_seconds + 60,  # JAX aborts then; the timer speaks first, in one line,
      heartbeat_timeout_seconds=2 * watchdog_seconds,  # and so does `_watch`
      **_where_known(
        jax.distributed.initialize, shutdown_timeout_seconds=watchdog_seconds
      ),  # not in jax 0.8.0
    )
  except (RuntimeError, ValueError) as error:
    raise RunError(f"cannot join the other processes: {str(error).strip().splitlines()[0][:200]}") from error
  finally:
    timer.cancel()
  threading.Thread(target=_watch, args=(watchdog_seconds, busy_seconds), daemon=True).start()


def start_watchdog(*, watchdog_seconds: int | None = None, busy_seconds: int | None = None) -> None:
  """Starts the watchdog of a process that is alone; where it makes no progress, it ends with one line.

  Args:
    watchdog_seconds: how long a run may be without a step; None: `ALONE_SECONDS`.
    busy_seconds: how long one piece of other work may take; None: `ALONE_BUSY_SECONDS`.
  """
  limits = (watchdog_seconds or ALONE_SECONDS, busy_seconds or ALONE_BUSY_SECONDS)
  threading.Thread(target=_watch_alone, args=limits, daemon=True).start()


def _where_known(function: Callable[..., Any], **options: Any) -> dict[str, Any]:
  """The options that a function has."""
  return {name: value for name, value in options.items() if name in inspect.signature(function).parameters}


def leave() -> None:
  """Leaves a run of several processes together with the others, after its end."""
  if _client() is not None:
    _leaving.set()
    jax.distributed.shutdown()


def joined() -> bool:
  """Returns whether this process is one of several that were joined."""
  return _client() is not None


def is_main() -> bool:
  """Returns whether this process is the one that writes logs and files."""
  return not joined() or jax.process_index() == 0


def index() -> int:
  """Returns the number of this process, 0 where it is alone."""
  return jax.process_index() if joined() else 0


def gather(values: Any) -> np.ndarray:
  """Gathers int32 or uint32 [n] of each process as [processes, n]. All must call it in the same order."""
  if not joined():
    return np.asarray(values)[None]
  from jax.experimental import multihost_utils

  with _beat.waiting():
    return np.asarray(multihost_utils.process_allgather(np.asarray(values)))


def exchange(text: str) -> list[str]:
  """Returns the text of each process, of any length, by its number. All must call it in the same order."""
  client = _client()
  if client is None:
    return [text]
  _beat.exchanges += 1
  folder = f"{_PREFIX}/said/{_beat.exchanges}"
  client.key_value_set(f"{folder}/{jax.process_index()}", text)
  with _beat.waiting():
    return [_when_there(client, f"{folder}/{process}") for process in range(jax.process_count())]


def _when_there(client: Any, key: str) -> str:
  while True:  # `_watch` ends this process when the other one is lost
    try:
      return client.blocking_key_value_get(key, 10_000)
    except jax.errors.JaxRuntimeError as error:
      if "DEADLINE_EXCEEDED" not in str(error):
        raise


def progress(step: int) -> None:
  """Tells the watchdog that `step` steps are done."""
  _beat.land(step)


def piece_done() -> None:
  """Tells the watchdog that a piece of what this process is busy with is done, e.g. a batch of many."""
  _beat.pieces += 1


@contextlib.contextmanager
def busy(what: str) -> Iterator[None]:
  """Tells the watchdog to expect no steps meanwhile: this process compiles, saves or reports.

  It must end, or make `piece_done` be called, within `busy_seconds` of `join`.
  """
  before, _beat.doing = _beat.doing, what
  try:
    yield
  finally:
    _beat.doing = before
    _beat.since = time.monotonic()


def all_agree(fine: bool) -> bool:
  """Returns whether `fine` holds in every process."""
  return bool(gather(np.array([fine], np.int32)).all())


def on_main(action: Callable[[], None]) -> None:
  """Runs `action` in the main process, while the others wait. An error there ends all (see `announce`)."""
  if is_main():
    action()
  gather(np.zeros(1, np.int32))


def lost(error: Exception) -> str:
  """Returns the first line of an error of a collective that has lost another process, else ""."""
  line = str(error).strip().partition("\n")[0][:160]
  signs = ("Gloo", "Connection", "Socket closed", "coordination", "heartbeat")
  gone = joined() and isinstance(error, jax.errors.JaxRuntimeError) and any(sign in line for sign in signs)
  return line if gone else ""


def announce(message: str) -> None:
  """Tells the other processes why this one ends, and waits until they have heard it or cannot."""
  if (client := _client()) is None:
    return
  _leaving.set()
  try:
    client.key_value_set(f"{_PREFIX}/error/{jax.process_index()}", message, allow_overwrite=True)
    until = time.monotonic() + 3 * LOOK_SECONDS
    while time.monotonic() < until:
      if len(_read(client, "heard") | _read(client, "error")) == jax.process_count():
        break
      time.sleep(LOOK_SECONDS / 10)
    if is_main():
      time.sleep(LOOK_SECONDS / 2)  # the coordinator goes last: JAX aborts those who lose it
  except jax.errors.JaxRuntimeError:
    return  # the coordinator is gone, and with it the others


_leaving = threading.Event()


def _client() -> Any:
  from jax._src import distributed  # jax has no public door to its key-value store

  return distributed.global_state.client


class Told(NamedTuple):
  """What a process tells of itself.

  Attributes:
    number: of the telling: a process whose number grows is alive.
    step: its steps so far.
    doing: what it does instead of steps; empty: it takes steps, or waits for others.
    pieces: how many pieces of such things are done.
    slow: seconds that a step may take, by those before.
  """

  number: int
  step: int
  doing: str
  pieces: int
  slow: float


class _Beat:
  """What this process tells the others of itself; see `Told`."""

  def __init__(self) -> None:
    self.step, self.doing, self.pieces, self.exchanges = 0, "start", 0, 0
    self.since, self.slowest = time.monotonic(), 0.0
    self._waits = 0

  def land(self, step: int) -> None:
    """More steps are done; the slowest so far says how long the next may take."""
    now = time.monotonic()
    if step != self.step:
      if not self.doing:
        self.slowest = max(self.slowest, now - self.since)
      self.step, self.since = step, now

  @contextlib.contextmanager
  def waiting(self) -> Iterator[None]:
    """While this process waits for others it is not busy, whatever it waits for them in."""
    self._waits += 1
    try:
      yield
    finally:
      self._waits -= 1

  def text(self, number: int) -> str:
    doing = "" if self._waits else self.doing
    return json.dumps(Told(number, self.step, doing, self.pieces, round(SLOWER * self.slowest, 1)))


SLOWER = 10  # a call that takes so many times longer than the slowest before is stuck
_beat = _Beat()


class Watch:
  """The watchdog's judgement: told what all processes say and when, it says why the run cannot go on."""

  def __init__(self, processes: int, *, patience: float, busy: float, now: float):
    """Starts at the time `now`, in seconds of any clock.

    Args:
      processes: how many there are.
      patience: seconds that one may be silent, and all be without a step.
      busy: seconds that all may be without progress while one of them is busy with something else.
      now: the time.
    """
    self._patience, self._busy = patience, max(busy, patience)
    self._heard = dict.fromkeys(range(processes), ("", now))
    self._signs: dict[int, tuple[int, str, int]] = {}
    self._moved = now

  def look(self, beats: Mapping[int, str], now: float) -> str:
    """Takes the newest word of each process; returns the cause to end the run, or "" where all is well."""
    for process, beat in beats.items():
      if beat != self._heard[process][0]:
        self._heard[process] = (beat, now)
    if late := [process for process, (_, when) in self._heard.items() if now - when > self._patience]:
      return f"process {late[0]} was not heard from for {self._patience:.0f} s"
    told = {process: Told(*json.loads(beat)) for process, beat in sorted(beats.items())}
    signs = {process: (one.step, one.doing, one.pieces) for process, one in told.items()}
    if signs != self._signs:
      self._signs, self._moved = signs, now
    alone = len(self._heard) == 1
    who = {process: "this process" if alone else f"process {process}" for process in told}
    busy = [f"{who[process]} is busy with '{one.doing}'" for process, one in told.items() if one.doing]
    limit = max(self._busy if busy else self._patience, *(one.slow for one in told.values()), 0.0)
    if now - self._moved <= limit:
      return ""
    if busy:
      one = "it" if alone else "one"
      return f"no progress for {limit:.0f} s ({', '.join(busy)}): {one} hangs, or needs more --busy_seconds"
    where = ", ".join(f"{who[process]} at step {one.step}" for process, one in told.items())
    then = "it hangs, or needs more --watchdog_seconds" if alone else "they wait for each other"
    return f"no process made a step for {limit:.0f} s ({where}): {then}"


def _read(client: Any, what: str) -> dict[int, str]:
  return {int(key.rpartition("/")[2]): value for key, value in client.key_value_dir_get(f"{_PREFIX}/{what}/")}


def _watch(patience: float, busy: float) -> None:
  """Ends this process when another one announced an error, was lost, or when the run makes no progress."""
  client, me = _client(), jax.process_index()
  watch = Watch(jax.process_count(), patience=patience, busy=busy, now=time.monotonic())
  number = 0
  while not _leaving.wait(LOOK_SECONDS):
    number += 1
    try:
      client.key_value_set(f"{_PREFIX}/beat/{me}", _beat.text(number), allow_overwrite=True)
      for process, message in _read(client, "error").items():
        client.key_value_set(f"{_PREFIX}/heard/{me}", "", allow_overwrite=True)
        _end(f"process {process} ended: {message}")
      beats = _read(client, "beat")
    except jax.errors.JaxRuntimeError:
      return  # the coordinator is gone: JAX ends this process at once
    if cause := watch.look(beats, time.monotonic()):
      _end(cause)


def _watch_alone(patience: float, busy: float) -> None:
  """Ends this process, which is the only one of its run, when it makes no progress."""
  watch, number, clock, last = Watch(1, patience=patience, busy=busy, now=0.0), 0, 0.0, time.monotonic()
  while not _leaving.wait(LOOK_SECONDS):
    now = time.monotonic()
    # Time in which the process was stopped, or the machine asleep, is none in which it hung.
    clock, last, number = clock + min(now - last, 2 * LOOK_SECONDS), now, number + 1
    if cause := watch.look({0: _beat.text(number)}, clock):
      _end(cause)


def _check_port(coordinator: str) -> None:
  """Refuses a port of this machine that is in use: JAX would crash on it."""
  host, _, port = coordinator.rpartition(":")
  with contextlib.suppress(socket.gaierror, OverflowError), socket.socket() as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was just closed is free
    try:
      probe.bind((host.strip("[]"), int(port)))
    except OSError as error:
      if error.errno == errno.EADDRINUSE:
        raise RunError(f"--coordinator={coordinator}: that port is in use; choose another one") from error


def _nobody_came(seconds: float, last: bool) -> None:
  text = (
    f"error: the processes of this run did not all join within {seconds} s: start as many as --num_processes"
    " says, each with its own --process_id and the same reachable --coordinator"
  )
  print(text, file=sys.stderr, flush=True)
  if last:
    time.sleep(2 * LOOK_SECONDS)  # as in `announce`
  os._exit(1)


def _end(cause: str) -> None:
  if _leaving.is_set():
    return
  _leaving.set()
  everywhere = " in all processes" if joined() else ""
  print(f"error: {cause}; the same command{everywhere} resumes the run", file=sys.stderr, flush=True)
  if is_main():
    time.sleep(2 * LOOK_SECONDS)  # as in `announce`
  os._exit(1)  # the main thread may be waiting for the lost process inside a collective
