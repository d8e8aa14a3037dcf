"""The logs of a run: metrics.jsonl and TensorBoard files.

Everything is written by the main thread, and nothing here can stop a run: a file that cannot be written is
named once, and what it would have held is left out.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from vita_jax.base.files import write_bytes
from vita_jax.report.rows import read_rows, seed_mean, split_of


class Logs(NamedTuple):
  """`write(row)` appends to metrics.jsonl and TensorBoard; `close()` ends both."""

  write: Callable[[dict[str, Any]], None]
  close: Callable[[], None]


NO_LOGS = Logs(lambda row: None, lambda: None)  # of the processes that write nothing


class LogFile:
  """A file that grows by whole records: one that cannot be written is taken back.

  What cannot be written is told at the first failure and at the end; so is a file that somebody deletes,
  which is begun anew.
  """

  def __init__(
    self, path: Path, warn: Callable[[str], None], *, root: Path, head: bytes = b"", written: int = 0
  ):
    """Appends to `path`, which is made at the first record.

    Args:
      path: the file.
      warn: gets one line at the first failure, at the first deletion, and at the end after either.
      root: the workdir; where that is gone nothing is said here, for the loop says it, and ends.
      head: what the file begins with whenever it is made.
      written: records that it has.
    """
    self._path, self._warn, self._root, self._head = path, warn, root, head
    self._written, self._missing = written, 0
    self._told: set[str] = set()
    self._file: Any = None

  def append(self, record: bytes) -> None:
    """Writes one record, or none of it."""
    if self._deleted() and self._root.is_dir():
      text = f"{self._path} was deleted during the run: it is begun anew, without its {self._written} rows"
      self._tell("deleted", text)
      self._missing, self._written = self._missing + self._written, 0
      self._file.close()
      self._file = None
    try:
      if self._file is None:
        self._path.parent.mkdir(exist_ok=True)
        self._file = self._path.open("ab", buffering=0)  # unbuffered: what fails fails here
        record = record if self._written else self._head + record
      end = self._file.seek(0, os.SEEK_END)
      try:
        if self._file.write(record) != len(record):
          raise OSError(28, "No space left on device")  # a raw file writes what still fits
      except OSError:
        self._file.truncate(end)  # a record cut short would spoil what follows
        raise
      self._written += 1
    except OSError as error:
      self._missing += 1
      if self._root.is_dir():
        cause = error.strerror or error
        self._tell("failed", f"cannot write {self._path} ({cause}): the run goes on without those rows")

  def _deleted(self) -> bool:
    if self._file is None:
      return False
    try:
      return not os.path.samestat(self._path.stat(), os.fstat(self._file.fileno()))
    except OSError:
      return True

  def _tell(self, kind: str, text: str) -> None:
    if kind not in self._told:
      self._told.add(kind)
      self._warn(f"warning: {text}")

  def close(self) -> None:
    """Closes the file."""
    if self._missing and self._root.is_dir():
      self._tell("end", f"{self._path} lacks {self._missing} rows of this run (see the warning before)")
    if self._file is not None:
      with contextlib.suppress(OSError):
        self._file.close()


def open_logs(workdir: Path, *, step: int, warn: Callable[[str], None]) -> Logs:
  """Opens the logs of a run that continues at `step`; drops rows beyond it, and lines that are no rows.

  Args:
    workdir: of the run.
    step: over all stages.
    warn: gets one line for lines that are no rows, and one per file that cannot be written later on.

  Raises:
    OSError: metrics.jsonl of the run so far cannot be read or rewritten.
  """
  path = Path(workdir) / "metrics.jsonl"
  rows = [row for row in read_rows(path, warn=warn) if row["step"] <= step]
  kept = b"".join(_line(row) for row in rows)
  if path.exists() and path.read_bytes() != kept:
    write_bytes(path, kept)
  # TensorBoard forgets what earlier files say beyond the start.
  head = _record(_event(file_version="brain.Event:2")) + _record(_start_event(step + 1))
  lines, board = (
    LogFile(path, warn, root=workdir, written=len(rows)),
    LogFile(_event_file(workdir), warn, root=workdir, head=head),
  )
  written = {_name(row) for row in rows if row["step"] == step}  # a finished stage is evaluated once more

  def write(row: dict[str, Any]) -> None:
    if _name(row) not in written:
      lines.append(_line(row))
      board.append(_record(_row_event(row)))

  def close() -> None:
    lines.close()
    board.close()

  return Logs(write, close)


def _name(row: dict[str, Any]) -> tuple[Any, ...]:
  """What tells rows apart: an observation at the start of a step has a row beside the means up to it."""
  return row["stage"], row["at"], row["split"], *sorted(row["metrics"])


def _line(row: dict[str, Any]) -> bytes:
  return json.dumps(row).encode() + b"\n"


def _event_file(workdir: Path) -> Path:
  stamp = f"{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
  return Path(workdir) / "tensorboard" / f"events.out.tfevents.{stamp}"


def _event(**fields: Any) -> Any:
  from tensorboardX.proto import event_pb2  # its writers have a thread of their own: only its formats

  return event_pb2.Event(wall_time=time.time(), **fields)


def _start_event(step: int) -> Any:
  from tensorboardX.proto import event_pb2

  start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
  return _event(step=step, session_log=start)


def _row_event(row: dict[str, Any]) -> Any:
  """All metrics of a row as scalars `<split>/<metric>`, so that TensorBoard groups them by split."""
  from tensorboardX.proto import summary_pb2

  values = []
  for metric, value in row["metrics"].items():
    if (number := seed_mean(value)) is not None:
      tag = "/".join(split_of(row["split"], metric))
      values.append(summary_pb2.Summary.Value(tag=tag, simple_value=number))
  return _event(step=row["step"], summary=summary_pb2.Summary(value=values))


def _record(event: Any) -> bytes:
  """An event as TFRecord: length, its masked CRC, the bytes, and theirs."""
  from tensorboardX.record_writer import masked_crc32c

  data = event.SerializeToString()
  length = struct.pack("<Q", len(data))
  crcs = [struct.pack("<I", masked_crc32c(part)) for part in (length, data)]
  return length + crcs[0] + data + crcs[1]
