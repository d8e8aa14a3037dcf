"""Arrays that take long to make, kept in a folder of npz files named by the hash of what they depend on."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from vita_jax.base.files import npz_bytes, write_bytes
from vita_jax.base.hashing import arrays_sha256
from vita_jax.data.files import read_npz

_KEY, _DIGEST = "__key__", "__sha256__"


def cache_folder(name: str, root: str | os.PathLike | None = None) -> Path:
  """Returns `root/name`, where `root` is by default $VITA_CACHE_DIR, else ~/.cache/vita_jax."""
  return Path(root or os.environ.get("VITA_CACHE_DIR") or "~/.cache/vita_jax").expanduser() / name


def cached_arrays(
  folder: str | os.PathLike,
  key: str,
  make: Callable[[], Mapping[str, np.ndarray]],
  *,
  prefix: str = "",
  setting: str = "VITA_CACHE_DIR",
) -> dict[str, np.ndarray]:
  """Returns `make()`, or what it returned when it was called with the same `key` before.

  Files are written whole or not at all, so that runs may share a folder, and are read without pickle. Each
  holds its key and a digest of its arrays: a file that does not agree with them, or cannot be read, is
  made again and replaced, with a warning. A folder that cannot be written costs a warning only.

  Args:
    folder: where the files are; made if it is not there.
    key: text of everything the arrays depend on: parameters, versions, digests of inputs.
    make: makes the arrays; names must not start with two underscores.
    prefix: start of the file's name, for people who look into the folder.
    setting: what the user sets to choose the folder, for the warning.

  Examples:
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> def squares():
    ...   print("making")
    ...   return {"x": np.arange(4) ** 2}
    >>> first = cached_arrays(folder, "squares of 4", squares)
    making
    >>> cached_arrays(folder, "squares of 4", squares)["x"].tolist()
    [0, 1, 4, 9]
  """
  path = Path(folder) / f"{prefix}{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
  if os.path.exists(path):  # Path.exists raises where the folder may not be searched
    try:
      return _read(path, key)
    except Exception as error:  # whatever is wrong with the file, making it again is the remedy
      _warn(f"cache file {path} is damaged ({_one_line(error)}): making it again")
  arrays = dict(make())
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, _packed(arrays, key))
  except OSError as error:
    _warn(f"the cache cannot be written ({_one_line(error)}): set {setting} to a writable folder")
  return arrays


def _packed(arrays: dict[str, np.ndarray], key: str) -> bytes:
  return npz_bytes({**arrays, _KEY: _as_bytes(key), _DIGEST: _as_bytes(arrays_sha256(arrays))})


def _read(path: Path, key: str) -> dict[str, np.ndarray]:
  arrays = read_npz(path)
  found, digest = (arrays.pop(name).tobytes() for name in (_KEY, _DIGEST))
  if found != key.encode():
    raise ValueError("it was made from something else than its name says")
  if digest != arrays_sha256(arrays).encode():
    raise ValueError("its arrays are not those that were written")
  return arrays


def _as_bytes(text: str) -> np.ndarray:
  return np.frombuffer(text.encode(), np.uint8)


def _one_line(error: Exception) -> str:
  return " ".join(str(error).split()) or type(error).__name__


def _warn(message: str) -> None:
  warnings.warn(message, RuntimeWarning, stacklevel=3)
