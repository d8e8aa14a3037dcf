"""Hashes: of files and arrays, to identify them, and of integers, to mix their bits."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np


def mix(x: Any) -> Any:
  """Mixes the bits of uint32 numbers: MurmurHash3's finaliser, a bijection with full avalanche.

  Args:
    x: uint32 array of numpy or JAX, any shape. (numpy scalars would warn where uint32 wraps.)
  """
  x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
  x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
  return x ^ (x >> np.uint32(16))


def file_sha256(path: str | os.PathLike) -> str:
  """Returns the sha256 of a file, 64 hex digits.

  Raises:
    FileNotFoundError: no such file.
  """
  path = os.fspath(path)
  if not os.path.isfile(path):
    raise FileNotFoundError(f"no file {path}; check the path")
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def arrays_sha256(arrays: Mapping[str, np.ndarray]) -> str:
  """Returns a digest of names, dtypes, shapes and values: equal arrays, equal digest, in any file."""
  digest = hashlib.sha256()
  for name in sorted(arrays):
    x = np.asarray(arrays[name])
    x = x.astype(x.dtype.newbyteorder("<"), order="C", copy=False)
    digest.update(f"{name} {x.dtype.str} {x.shape}\n".encode())
    digest.update(x.tobytes())
  return digest.hexdigest()
