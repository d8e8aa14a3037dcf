"""A folder of npz files, each named by the hash of what its arrays were made from."""

import hashlib
import json
import os
import pathlib
import tempfile
import warnings
from collections.abc import Callable

import numpy as np


def arrays_sha256(arrays) -> str:
  """Hex sha256 of the dtypes, shapes and values of numpy arrays."""
  digest = hashlib.sha256()
  for array in arrays:
    digest.update(f"{array.dtype}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array))
  return digest.hexdigest()


def cached(
  task: str,
  inputs: dict,
  compute: Callable[[], dict[str, np.ndarray]],
  *,
  cache_dir: str | os.PathLike | None,
) -> dict[str, np.ndarray]:
  """What `compute()` returns, read from disk when the same `inputs` were computed before.

  Files are written whole or not at all, so runs may share a folder, and read without pickle. A
  damaged file is computed again and replaced, with a warning; a folder that cannot be written
  costs a warning only.

  Args:
    task: start of the file's name.
    inputs: JSON values; everything the arrays depend on.
    compute: makes the arrays.
    cache_dir: default $VITA_CACHE_DIR, else ~/.cache/vita_jax; files go to its folder ss_gcn.
  """
  text = json.dumps(inputs, sort_keys=True)
  root = cache_dir or os.environ.get("VITA_CACHE_DIR") or "~/.cache/vita_jax"
  name = f"{task}-{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"
  path = pathlib.Path(root).expanduser() / "ss_gcn" / name
  if path.exists():
    try:
      return _read(path, text)
    except Exception as error:  # whatever is wrong with the file, making it again is the remedy
      _warn(f"cache file {path} is damaged ({_one_line(error)}): making it again")
  arrays = compute()
  try:
    _write(path, text, arrays)
  except OSError as error:
    _warn(f"labels are not cached ({_one_line(error)}): set VITA_CACHE_DIR to a writable folder")
  return arrays


def _read(path, text):
  with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
    arrays = {name: file[name] for name in file.files}
  if arrays.pop("inputs").tobytes() != text.encode():
    raise ValueError("it holds other labels than its name says")
  return arrays


def _write(path, text, arrays):
  path.parent.mkdir(parents=True, exist_ok=True)
  handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
  try:
    with os.fdopen(handle, "wb") as file:
      np.savez_compressed(file, inputs=np.frombuffer(text.encode(), np.uint8), **arrays)
    os.replace(temporary, path)
  except BaseException:
    os.unlink(temporary)
    raise


def _one_line(error):
  return " ".join(str(error).split()) or type(error).__name__


def _warn(message):
  warnings.warn(message, RuntimeWarning, stacklevel=3)
