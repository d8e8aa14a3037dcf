"""Figures as files: written whole, and never worth the result that they show."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any

from vita_jax.base.files import write_bytes


def _to_stderr(line: str) -> None:
  print(line, file=sys.stderr, flush=True)


def save_figure(
  path: str | os.PathLike, draw: Callable[[], Any], *, warn: Callable[[str], None] = _to_stderr
) -> bool:
  """Draws a figure and saves it as PNG; returns whether it is there.

  Args:
    path: the .png file.
    draw: returns a matplotlib Figure. Drawing is part of what may fail, so it is called in here.
    warn: gets one line where the figure cannot be drawn or written.

  Examples:
    >>> from matplotlib.figure import Figure
    >>> save_figure("/nowhere/a.png", Figure, warn=lambda line: None)
    False
  """
  try:
    content = io.BytesIO()
    draw().savefig(content, format="png", dpi=120)
    write_bytes(path, content.getvalue())
  except Exception as error:  # a picture is not worth a result, whatever is wrong with it
    cause = str(error).strip().partition("\n")[0][:200] or type(error).__name__
    warn(f"warning: {os.fspath(path)} was not drawn ({cause}); the numbers are complete")
    return False
  return True
