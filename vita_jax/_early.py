"""SIGTERM, SIGHUP and Ctrl-C in the first moments of a command, when a handler of the loop is not yet there.

The imports of a launch script take seconds. What is installed here as the first of them ends the process
with one line and the usual exit code, where Python would show the import that was interrupted. Nothing is
installed in a process that runs anything else: a notebook, a test, a worker of a pool.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

NUMBERS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
BEFORE = "stopped before it began; nothing was written"
_line: str | None = BEFORE
_owner = 0


class Stopped(KeyboardInterrupt):
  """SIGTERM or SIGHUP came; `exit_code` is 143 or 129."""

  def __init__(self, exit_code: int):
    super().__init__()
    self.exit_code = exit_code


def ends(line: str) -> None:
  """From here on a signal ends this process at once: with this line, or silently where it is empty."""
  global _line
  _line = line


def raises() -> None:
  """From here on SIGTERM and SIGHUP raise `Stopped` and Ctrl-C a KeyboardInterrupt, in the main thread."""
  global _line
  _line = None
  install()


def install() -> None:
  """Installs the handlers; SIGHUP stays ignored under nohup. Only the main thread may."""
  global _owner
  _owner = os.getpid()
  if threading.current_thread() is threading.main_thread():
    for number in NUMBERS:
      if signal.getsignal(number) != signal.SIG_IGN:
        signal.signal(number, _handle)


def _handle(number: int, frame: Any) -> None:
  if os.getpid() != _owner:  # a fork of this process is none that can say something
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
  elif _line is not None:
    os.write(2, f"{_line}\n".encode() if _line else b"")
    os._exit(128 + number)
  else:
    raise KeyboardInterrupt if number == signal.SIGINT else Stopped(128 + number)


def _runs_a_script() -> bool:
  """Whether this process was started to run a launch script, here or by the command `vita`."""
  launch = (Path(__file__).parent / "launch").resolve()
  return multiprocessing.parent_process() is None and launch in Path(sys.argv[0]).resolve().parents


if _runs_a_script():
  install()
