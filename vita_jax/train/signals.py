"""SIGTERM, SIGHUP and Ctrl-C as a question that is asked between chunks."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

CODES = {signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGINT: 130}


@contextlib.contextmanager
def signals() -> Iterator[Callable[[], int]]:
  """Yields `asked_to_stop()`: 0, or the exit code of the first signal that came.

  Further SIGTERMs and SIGHUPs change nothing, so that a launcher that sends several cannot lose the save;
  a second Ctrl-C is obeyed at once. SIGHUP stays ignored under nohup.
  """
  if threading.current_thread() is not threading.main_thread():
    yield lambda: 0  # only the main thread may install handlers (a notebook's worker, a test)
    return
  received: list[int] = []
  old = {number: signal.getsignal(number) for number in CODES}

  def handler(number, frame):
    received.append(CODES[number])
    if number == signal.SIGINT:
      signal.signal(number, old[number] or signal.SIG_DFL)

  for number in CODES:
    if not (number == signal.SIGHUP and old[number] == signal.SIG_IGN):
      signal.signal(number, handler)
  try:
    yield lambda: received[0] if received else 0
  finally:
    for number, previous in old.items():
      signal.signal(number, previous or signal.SIG_DFL)
