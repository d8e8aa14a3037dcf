"""Figures as files: written whole, and never worth the result that they show."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

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


def picture_grid(columns: Mapping[str, np.ndarray]) -> Any:
  """Draws a sheet of pictures, a column for each name and a row for each picture: a matplotlib Figure.

  Args:
    columns: title -> uint8 [n, h, w, 3]; as many pictures each.

  Raises:
    ValueError: columns of unlike numbers of pictures, or none.
  """
  from matplotlib.figure import Figure

  counts = {len(shown) for shown in columns.values()}
  if len(counts) != 1:
    raise ValueError(f"a sheet needs columns with as many pictures each, these have {sorted(counts)}")
  rows = counts.pop()
  figure = Figure(figsize=(1.5 * len(columns), 1.5 * rows + 0.3), layout="constrained")
  for column, (name, shown) in zip(
    figure.subplots(rows, len(columns), squeeze=False).T, columns.items(), strict=True
  ):
    column[0].set_title(name, fontsize=8)
    for axis, picture in zip(column, shown, strict=True):
      axis.imshow(picture, interpolation="nearest")
      axis.set_axis_off()
  return figure
