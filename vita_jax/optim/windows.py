"""How many steps lie between two decisions of a controller of learning rates."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp


def window_length(
  done: Any, before: Any, epoch: Any, *, smallest: int = 10, shrink: int = 20, legacy: bool = False
) -> Any:
  """Computes the length of the next window: max(smallest, (done + before) // shrink), to the epoch's end.

  So a window is 1 / shrink of the steps that have been taken. As released the sum was done + before //
  shrink, an error of precedence that doubles windows within an epoch: `legacy`.

  Args:
    done: steps taken in this epoch: whole number, or int32 scalar.
    before: steps taken in earlier epochs.
    epoch: steps of an epoch.
    smallest: the shortest window; only an epoch's end cuts it.
    shrink: the divisor.
    legacy: the sum as released.

  Source: "Automated Synthetic-to-Real Generalization" (ICML 2020) as released.

  Examples:
    >>> int(window_length(238, 4763, 4763)), int(window_length(238, 4763, 4763, legacy=True))
    (250, 476)
  """
  grown = done + before // shrink if legacy else (done + before) // shrink
  return jnp.minimum(jnp.maximum(smallest, grown), epoch - done)


def window_lengths(
  epoch: int, epochs: int, *, smallest: int = 10, shrink: int = 20, legacy: bool = False
) -> list[int]:
  """Lists the lengths of all windows of a run; decisions are one fewer: the first window has none.

  Examples:
    >>> window_lengths(100, 1, legacy=True)
    [10, 10, 20, 40, 20]
  """
  found = []
  for i in range(epochs):
    done = 0
    while done < epoch:
      grown = done + i * epoch // shrink if legacy else (done + i * epoch) // shrink
      found.append(min(max(smallest, grown), epoch - done))
      done += found[-1]
  return found
