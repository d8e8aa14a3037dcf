"""Errors that a user can fix, as one line on stderr with an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from absl import flags

from vita_jax import _early, train
from vita_jax import help as script_help
from vita_jax.base.files import remedy
from vita_jax.train import cluster

# What a user can fix: shown as one line. Anything else is a bug and keeps its traceback.
FIXABLE = (train.RunError, ValueError, OSError, ImportError, flags.Error)

LONGEST = 2000  # characters of an error


def guarded(action: Callable[[], Any], *, exit_code: int) -> Any:
  """Calls `action`; turns an error that a user can fix into one line and an exit code."""
  try:
    return action()
  except train.Interrupted as error:
    text = str(error) if cluster.is_main() else ""
    cluster.leave()  # together: all stop at the same step
    fail(text, error.exit_code)
  except KeyboardInterrupt as error:
    code = error.exit_code if isinstance(error, _early.Stopped) else 130
    fail("interrupted: the same command goes on from what was saved", code)
  except FIXABLE as error:
    if isinstance(error, BrokenPipeError) and _nobody_reads():
      os._exit(141)
    if os.environ.get("VITA_DEBUG"):
      raise
    fail(" ".join(_said(error).split()) or type(error).__name__, exit_code)
  except Exception as error:
    if cause := cluster.lost(error):
      fail(f"another process of this run is gone ({cause}): the same command in all of them resumes it", 1)
    if (text := out_of_memory(error)) and not os.environ.get("VITA_DEBUG"):
      fail(text, 1)
    cluster.announce(f"{type(error).__name__}: {error}")
    raise


def _said(error: Exception) -> str:
  """What an error says; of one of the operating system the file and the cause, without "[Errno 28]"."""
  if not isinstance(error, OSError) or not error.strerror:
    return str(error)
  text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
  # Others can be of a file that is read.
  do = remedy(error) if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EEXIST) else ""
  return f"{text}; {do} and run the same command again" if do else text


def _nobody_reads() -> bool:
  """Whether the reader of the output has gone, as that of `| head` has; other pipes that break are errors."""
  poll = select.poll()
  for number in (1, 2):
    poll.register(number, select.POLLOUT)
  return any(event & select.POLLERR for _, event in poll.poll(0))


def fail(text: str, exit_code: int) -> NoReturn:
  """Prints `error: TEXT` on stderr (TEXT alone, if the code is 128 or more) and ends the process at once.

  Of a text that a user's file made longer than a screen, its beginning and its end.
  """
  _early.ends("")  # all is said
  text = script_help.as_called(text)
  if len(text) > LONGEST:
    text = f"{text[: LONGEST // 2]} [...] {text[-LONGEST // 2 :]}"
  if text:
    print(f"error: {text}" if exit_code < 128 else text, file=sys.stderr, flush=True)
  with contextlib.suppress(OSError):
    sys.stdout.flush()
  cluster.announce(text)
  os._exit(exit_code)  # at once: after a failed write, orbax's threads print tracebacks on their way out


def out_of_memory(error: Exception) -> str:
  """Returns one line for an error of JAX or NumPy that says that memory ran out, else "".

  Examples:
    >>> out_of_memory(MemoryError("Unable to allocate 1.35 TiB for an array")).partition(":")[0]
    'out of memory (1.35 TiB asked for at once)'
  """
  said = str(error)
  signs = ("Out of memory", "out of memory", "RESOURCE_EXHAUSTED", "ran out of memory")
  ours = type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError") and any(x in said for x in signs)
  if not (ours or isinstance(error, MemoryError)):
    return ""
  size = re.search(r"alloc\D*?(\d[\d.,]*) ?([KMGTP]i?B?\b|bytes|B\b)", said)
  asked = f"{int(size[1]):,} bytes" if size and size[1].isdigit() and size[2] == "bytes" else ""
  asked = asked or (f"{size[1]} {size[2]}" if size else "")
  return (
    f"out of memory{f' ({asked} asked for at once)' if asked else ''}: launch/train.py --dry_run tells what a"
    " run needs; fewer seeds (--config.seeds), a smaller width or a smaller batch need less"
  )
