"""The folder of a run: held by one process at a time, and by one config and its data for good."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vita_jax.base.files import write_json
from vita_jax.train import checkpoint, cluster
from vita_jax.train.errors import RunError
from vita_jax.train.finish import read_facts
from vita_jax.train.identity import Identity, check_same

BEAT_SECONDS, STALE_SECONDS, SEE_SECONDS = 10.0, 60.0, 30.0
OWNER = ".owner.json"
FILES = (".lock", OWNER, "config.json", "metrics.jsonl", "summary.json")
FOLDERS = ("checkpoints", "tensorboard", "export", "figures", "damaged")


class Claim(NamedTuple):
  """A workdir that is held; `check()` raises a RunError when it was renamed or deleted meanwhile.

  Of config.json and checkpoints/ that were deleted the first is written again, with a warning.
  """

  check: Callable[[], None]


@contextlib.contextmanager
def claim(workdir: Path, identity: Identity, *, warn: Callable[[str], None]) -> Iterator[Claim]:
  """Holds the workdir for this process, this config and this data; writes config.json the first time.

  A lock (flock) keeps out other processes of this machine, and of others where the file system carries
  locks over. Beside it `.owner.json` says who holds the folder, with a heartbeat, for those that do not.

  Raises:
    RunError: it cannot be written, another process runs there, or another run is there.
  """
  with contextlib.ExitStack() as stack:
    held: list[Any] = []
    cluster.on_main(lambda: held.append(_hold(workdir, identity, warn, stack)))
    lock = held[0] if held else None
    _see_the_same(workdir)

    def check() -> None:
      if lock is None:
        return
      if not _still_there(workdir / ".lock", lock):
        raise RunError(
          f"{workdir} was renamed or deleted during the run{_or_its_lock(workdir)}: nothing more is written;"
          " bring it back and run the same command to resume from its last checkpoint"
        )
      if not (saved := workdir / "checkpoints").is_dir():
        warn(f"warning: {saved} was deleted during the run: what was saved is lost; the run saves again")
        saved.mkdir()
      if not (written := workdir / "config.json").exists():
        warn(f"warning: {written} was deleted during the run: it is written again")
        write_json(written, identity.facts())

    yield Claim(check)


def _see_the_same(workdir: Path) -> None:
  """Makes sure that this process sees what the main one wrote: a folder of the same name is not enough."""
  path = workdir / OWNER
  (told, *_) = cluster.exchange(path.read_text() if cluster.is_main() else "")
  for _ in range(int(SEE_SECONDS / 0.5)):
    with contextlib.suppress(OSError, ValueError):
      if path.read_text() == told:
        return
    time.sleep(0.5)  # a network file system may show a new file late
  raise RunError(
    f"process {cluster.index()} does not see what process 0 wrote to --workdir={workdir}: it must be one"
    " folder that all processes share"
  )


def _or_its_lock(workdir: Path) -> str:
  return " (its .lock is another or gone)" if workdir.is_dir() else ""


def _still_there(path: Path, lock: Any) -> bool:
  try:
    return os.path.samestat(path.stat(), os.fstat(lock.fileno()))
  except OSError:
    return False


def _hold(workdir: Path, identity: Identity, warn: Callable[[str], None], stack: contextlib.ExitStack) -> Any:
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    _check_kinds(workdir)
    lock = stack.enter_context((workdir / ".lock").open("w"))
  except OSError as error:
    raise RunError(
      f"cannot write to --workdir={workdir} ({error.strerror}): give a folder that you can write to"
    ) from error
  _lock(lock, workdir, warn)
  os.utime(lock.fileno())  # the time now, as the file system has it
  _own(workdir, lock, stack)
  written, saved = workdir / "config.json", workdir / "checkpoints"
  # A config.json that was lost does not make the checkpoints those of any config.
  found = read_facts(workdir) if written.exists() else checkpoint.saved_facts(saved)
  started = checkpoint.good_steps(saved) or (workdir / "summary.json").exists()
  if found is not None and started:
    check_same(found, identity, what=str(workdir))
  if not (started and written.exists()):  # nothing was saved yet: the config may still be changed
    write_json(written, identity.facts())
  return lock


def _check_kinds(workdir: Path) -> None:
  """Refuses a folder where a run writes a file, and the other way round, before anything is written."""
  for names, is_wrong, has, writes in (
    (FILES, Path.is_dir, "a folder", "a file"),
    (FOLDERS, Path.is_file, "a file", "a folder"),
  ):
    if wrong := [workdir / name for name in names if is_wrong(workdir / name)]:
      raise RunError(
        f"{wrong[0]} is {has}, and a run writes {writes} of that name: move it away, or use another --workdir"
      )


def _lock(lock: Any, workdir: Path, warn: Callable[[str], None]) -> None:
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError as error:
    if error.errno in (errno.EAGAIN, errno.EWOULDBLOCK):
      owner = _read_owner(workdir)
      who = f" (process {owner['pid']} on {owner['host']})" if owner else ""
      raise RunError(f"another process is running in {workdir}{who}: wait for it, or use another") from error
    warn(
      f"warning: the file system of {workdir} has no locks ({error.strerror}): only {OWNER} keeps a second"
      " process out of it"
    )


def _own(workdir: Path, lock: Any, stack: contextlib.ExitStack) -> None:
  """Writes the owner's record and keeps it fresh, unless a process elsewhere does so."""
  path, owner = workdir / OWNER, _read_owner(workdir)
  here = socket.gethostname()
  # Both times are the file server's: clocks of machines differ. On this machine the lock has decided.
  age = os.fstat(lock.fileno()).st_mtime - path.stat().st_mtime if owner else STALE_SECONDS
  if owner and owner["host"] != here and age < STALE_SECONDS:
    raise RunError(
      f"another process is running in {workdir} (process {owner['pid']} on {owner['host']}, heard of"
      f" {max(age, 0):.0f} s ago): wait for it, or use another; if it is gone, wait {STALE_SECONDS:.0f} s"
    )
  write_json(path, {"host": here, "pid": os.getpid()})
  ended = threading.Event()

  def beat() -> None:
    while not ended.wait(BEAT_SECONDS):
      with contextlib.suppress(OSError):  # a heartbeat must not stop a run
        os.utime(path)

  thread = threading.Thread(target=beat, daemon=True)
  thread.start()

  def release() -> None:
    ended.set()
    if _still_there(workdir / ".lock", lock):
      path.unlink(missing_ok=True)

  stack.callback(release)


def _read_owner(workdir: Path) -> dict[str, Any] | None:
  with contextlib.suppress(OSError, ValueError, RecursionError):
    owner = json.loads((workdir / OWNER).read_bytes())
    if isinstance(owner, dict) and owner.keys() >= {"host", "pid"}:
      return owner
  return None
