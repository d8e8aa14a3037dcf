"""What the C library does with memory that a program gives back."""

from __future__ import annotations

import ctypes
import os
import sys

# mallopt(3): options by number.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_KEPT, _STEP = 2**31 - 1, 2**26  # bytes: the most that is kept free; how much more is asked for at once
_CORES = 8  # with more of them, threads that compile would wait for each other's allocations
_OWN = ("MALLOC_ARENA_MAX", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_freed_memory() -> bool:
  """Makes this process keep the memory that it frees, up to 2 GB, so that the next step need not ask again.

  XLA allocates the intermediate arrays of a program at every call on the CPU. The C library takes such large
  blocks from the kernel and gives them back each time, and the kernel fills every page with zeros: half of
  the time of a training step with 500 MB of them. Nothing is done where the C library is not glibc, where
  the user has settings of malloc in the environment, or on more than 8 cores.

  Returns:
    Whether it was done.
  """
  if not sys.platform.startswith("linux") or any(name in os.environ for name in _OWN):
    return False
  if len(os.sched_getaffinity(0)) > _CORES:
    return False
  try:
    mallopt = ctypes.CDLL(None).mallopt
  except (OSError, AttributeError):  # a C library without it, e.g. musl
    return False
  options = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _KEPT), (_TOP_PAD, _STEP))
  return all([mallopt(option, value) for option, value in options])
