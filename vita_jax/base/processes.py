"""Processes that do not outlive the one that started them."""

from __future__ import annotations

import os
import threading
import time

_watched: set[int] = set()


def end_with(parent: int) -> None:
  """Makes this process end as soon as its parent is gone, even if that was killed: for workers of a pool.

  Args:
    parent: the parent's `os.getpid()`, taken there.
  """
  if parent in _watched or parent == os.getpid():
    return
  _watched.add(parent)
  threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
  while os.getppid() == parent:
    time.sleep(0.5)
  os._exit(1)
