"""Weight files of Darknet (YOLO): a header and then nothing but float32 numbers, layer after layer.

The file names neither its layers nor their shapes: they come from the network, in the order in which
Darknet's .cfg lists its convolutions.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping

import numpy as np

from vita_jax.data.files import existing

EPSILON = 1e-6  # added to the standard deviation, not to the variance


def read_darknet(
  path: str | os.PathLike, kernels: Mapping[str, tuple[int, ...]], normalized: Mapping[str, bool]
) -> dict[str, dict[str, np.ndarray]]:
  """Reads the weights of a network, its batch norms folded into the convolutions.

  Of a convolution with batch norm there are bias b, scale s, running mean m and variance v [outputs each],
  then the kernel w [outputs, inputs, height, width]; of one without b and w. With batch norm the kernel here
  is w s / (sqrt(v) + 1e-6) and the bias b - m s / (sqrt(v) + 1e-6).

  Args:
    path: the .weights file.
    kernels: name -> shape [height, width, inputs, outputs], in the order of the file.
    normalized: name -> whether it has batch norm.

  Returns:
    name -> {"kernel": float32 [height, width, inputs, outputs], "bias": float32 [outputs]}.

  Raises:
    FileNotFoundError: no such file.
    ValueError: it holds more or fewer numbers than the network, or some that are not finite.
  """
  path = existing(path)
  start = header_bytes(path)
  wanted = sum(floats(shape, normalized[name]) for name, shape in kernels.items())
  if (size := path.stat().st_size) != start + 4 * wanted:
    raise ValueError(
      f"{path} holds {(size - start) / 4:,.0f} numbers, and the network has {wanted:,}: it is truncated, or"
      " of another network"
    )
  numbers = np.memmap(path, "<f4", mode="r", offset=start)
  found, at = {}, 0
  for name, shape in kernels.items():
    count = floats(shape, normalized[name])
    found[name] = _layer(np.asarray(numbers[at : at + count], np.float32), shape, normalized[name])
    if not all(np.isfinite(x).all() for x in found[name].values()):
      raise ValueError(f"{path} is damaged: '{name}' is not finite; fetch it again")
    at += count
  return found


def floats(shape: tuple[int, ...], normalized: bool) -> int:
  """Returns how many numbers the file has for a convolution [height, width, inputs, outputs].

  Examples:
    >>> floats((3, 3, 3, 32), True), floats((1, 1, 1024, 425), False)
    (992, 435625)
  """
  return math.prod(shape) + shape[-1] * (4 if normalized else 1)


def header_bytes(path: str | os.PathLike) -> int:
  """Returns the length of the header: three int32 (version), and int32 or, from version 0.2 on, int64.

  The last says how many images the network was trained on.

  Raises:
    ValueError: a file that is shorter than that.
  """
  with open(path, "rb") as file:
    start = file.read(12)
  if len(start) < 12:
    raise ValueError(f"{path} is not a Darknet weight file: it has {len(start)} bytes")
  major, minor, _ = struct.unpack("<3i", start)
  return 20 if 10 * major + minor >= 2 and max(major, minor) < 1000 else 16


def _layer(numbers: np.ndarray, shape: tuple[int, ...], normalized: bool) -> dict[str, np.ndarray]:
  height, width, inputs, outputs = shape
  vectors = numbers[: outputs * (4 if normalized else 1)].reshape(-1, outputs).astype(np.float64)
  kernel = numbers[vectors.size :].reshape(outputs, inputs, height, width).transpose(2, 3, 1, 0)
  if not normalized:
    return {"kernel": np.ascontiguousarray(kernel), "bias": vectors[0].astype(np.float32)}
  bias, scale, mean, variance = vectors
  with np.errstate(invalid="ignore"):  # a negative variance is damage, and is refused as NaN
    factor = scale / (np.sqrt(variance) + EPSILON)
  return {
    "kernel": np.ascontiguousarray(kernel * factor, np.float32),
    "bias": (bias - mean * factor).astype(np.float32),
  }
