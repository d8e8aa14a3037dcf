"""Peak signal-to-noise ratio of pictures."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np


def psnr(a: Any, b: Any, *, data_range: float) -> Any:
  """Computes 10 log10(data_range^2 / mean (a - b)^2) of each picture, in decibels.

  One picture that is exact makes the mean of these numbers infinite, and the mean favours pictures that are
  nearly so: of a set report `decibels` of the mean error, or say that it is the mean of decibels.

  Args:
    a: pictures [n, h, w, c], of any dtype.
    b: the same.
    data_range: the largest possible difference: 255 of bytes, 1 of [0, 1], 2 of [-1, 1].

  Returns:
    [n]: float64 of NumPy if both are arrays of NumPy, else of JAX, float32; inf where the two are equal.

  Raises:
    ValueError: unlike shapes, or a range that is not above 0.

  Examples:
    >>> psnr(np.zeros((1, 4, 4, 3)), np.full((1, 4, 4, 3), 0.1), data_range=1.0).round(6).tolist()
    [20.0]
  """
  a, b, xp = same_pictures(a, b, data_range)
  return decibels(xp.mean(xp.square(a - b), axis=(1, 2, 3)), data_range=data_range)


def decibels(error: Any, *, data_range: float) -> Any:
  """Computes 10 log10(data_range^2 / error) of mean squared errors, of any shape; inf where they are 0.

  Examples:
    >>> float(decibels(np.array(0.01), data_range=1.0))
    20.0
  """
  xp = np if isinstance(error, np.ndarray | np.generic | float) else jnp
  none = error == 0
  return xp.where(none, np.inf, 20 * np.log10(data_range) - 10 * xp.log10(xp.where(none, 1.0, error)))


def same_pictures(a: Any, b: Any, data_range: float) -> tuple[Any, Any, Any]:
  """Returns two batches of pictures as floating numbers, and the library that computes with them.

  NumPy and float64 where both are arrays of NumPy; else jax.numpy and at least float32.

  Raises:
    ValueError: no pictures [n, h, w, c], unlike shapes, or a range that is not above 0.
  """
  if a.ndim != 4 or a.shape != b.shape:
    raise ValueError(f"pictures must be two times [n, h, w, c], they are {a.shape} and {b.shape}")
  if not data_range > 0:
    raise ValueError(f"data_range is {data_range}: it must be above 0, e.g. 255 of bytes, 1 of [0, 1]")
  if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
    return a.astype(np.float64), b.astype(np.float64), np
  kind = jnp.promote_types(jnp.result_type(a, b), jnp.float32)
  return jnp.asarray(a, kind), jnp.asarray(b, kind), jnp
