"""SIGTERM and Ctrl-C as a question that is asked between chunks."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


@contextlib.contextmanager
def signals() -> Iterator[Callable[[], int]]:
  """Yields `asked_to_stop()`: 0, or the exit code of the signal that came; a second one is obeyed at once."""
  if threading.current_thread() is not threading.main_thread():
    yield lambda: 0  # only the main thread may install handlers (a notebook's worker, a test)
    return
  received: list[int] = []
  old = {number: signal.getsignal(number) for number in CODES}

  def handler(number, frame):
    received.append(CODES[number])
    signal.signal(number, old[number] or signal.SIG_DFL)

  for number in CODES:
    signal.signal(number, handler)
  try:
    yield lambda: received[0] if received else 0
  finally:
    for number, previous in old.items():
      signal.signal(number, previous or signal.SIG_DFL)
