"""Files that are written whole or not at all, and small files that are read with one clear line of error."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import io
import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

JSON_LIMIT = 16 << 20  # bytes of a file; what is parsed takes up to about thirty times as many


def remedy(error: Exception) -> str:
  """Returns what a user can do about a file that could not be written, as an imperative; "" if unknown."""
  number, said = getattr(error, "errno", None), str(error)
  if number in (errno.ENOSPC, errno.EDQUOT) or "No space" in said or "quota" in said:
    return "free some space"
  if number in (errno.EACCES, errno.EPERM, errno.EROFS) or any(sign in said for sign in _NOT_WRITABLE):
    return "make it writable"
  if number in (errno.EEXIST, errno.ENOTDIR):
    return "move that file away, a folder of its name is needed"
  return "find out what deletes files there" if number == errno.ENOENT or "No such file" in said else ""


_NOT_WRITABLE = ("Permission denied", "Read-only", "not permitted")


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
  """Writes a file so that a reader, a kill or a full disk never leaves half of it."""
  path, partial = Path(path), None
  try:
    # A name of its own: two processes that write the same file do not write into each other's.
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    with os.fdopen(handle, "wb") as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    os.chmod(partial, 0o666 & ~_umask())  # mkstemp's 0600 would hide the file from the user's group
    os.replace(partial, path)
    _sync_folder(path.parent)
  except BaseException as error:
    if partial is not None:
      Path(partial).unlink(missing_ok=True)
    if isinstance(error, OSError) and error.errno is not None:  # "No space left" alone names no file
      raise type(error)(error.errno, f"cannot write {path}: {error.strerror}") from error
    raise


def write_text(path: str | os.PathLike, text: str) -> None:
  """Writes UTF-8 text as `write_bytes` does."""
  write_bytes(path, text.encode())


def write_json(path: str | os.PathLike, content: Mapping[str, Any]) -> None:
  """Writes indented JSON as `write_bytes` does."""
  write_text(path, json.dumps(content, indent=2) + "\n")


def write_npz(path: str | os.PathLike, arrays: Mapping[str, Any]) -> None:
  """Writes a compressed npz file as `write_bytes` does."""
  write_bytes(path, npz_bytes(arrays))


def npz_bytes(arrays: Mapping[str, Any]) -> bytes:
  """Returns the content of a compressed npz file."""
  content = io.BytesIO()
  named: dict[str, Any] = {name: np.asarray(x) for name, x in arrays.items()}
  np.savez_compressed(content, **named)
  return content.getvalue()


def read_json(
  path: str | os.PathLike, *, what: str = "a JSON file", limit: int = JSON_LIMIT
) -> dict[str, Any]:
  """Reads a JSON object (UTF-8, with or without BOM).

  Args:
    path: the file.
    what: what it should be, for the messages, e.g. "a schema".
    limit: bytes that it may have; a longer one is not read.

  Raises:
    FileNotFoundError: no such file.
    ValueError: see `parse_json`.
  """
  path = Path(path)
  if not path.is_file():
    raise FileNotFoundError(f"no file {path}: give {what}")
  if (size := path.stat().st_size) > limit:  # before it is read
    raise ValueError(_too_long(str(path), what, size, limit))
  return parse_json(path.read_bytes(), str(path), what=what, limit=limit)


def parse_json(
  content: bytes | str, name: str, *, what: str = "a JSON file", limit: int = JSON_LIMIT
) -> dict[str, Any]:
  """Parses a JSON object.

  Args:
    content: UTF-8, with or without BOM, or text.
    name: of where it comes from, for the messages.
    what: what it should be, for the messages.
    limit: bytes (or characters) that it may have.

  Raises:
    ValueError: not UTF-8, not JSON, not an object, a key twice in one object, nested too deeply, or longer
      than `limit`.
  """
  if len(content) > limit:
    raise ValueError(_too_long(name, what, len(content), limit))
  try:
    text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
    parsed = json.loads(text, object_pairs_hook=_object)
  except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
    raise ValueError(f"{name} is not {what}: {error}") from error
  except RecursionError as error:
    raise ValueError(f"{name} is not {what}: it is nested too deeply") from error
  if not isinstance(parsed, dict):
    raise ValueError(f"{name} is not {what}: it holds a {type(parsed).__name__}, not an object")
  return parsed


def load_python_file(path: str | os.PathLike) -> ModuleType:
  """Imports a Python file by its path, outside any package.

  Raises:
    FileNotFoundError: no such file.
    ValueError: its name does not end in .py.
  """
  path = Path(path)
  if path.suffix != ".py":
    raise ValueError(f"{path} is no Python file: configs and suites are, configs/<paper>/*.py")
  if not path.is_file():
    raise FileNotFoundError(f"no file {path}: configs and suites are Python files, configs/<paper>/*.py")
  spec = importlib.util.spec_from_file_location(path.stem, path)
  assert spec is not None and spec.loader is not None  # a path that ends in .py has both
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def _too_long(name: str, what: str, size: int, limit: int) -> str:
  return f"{name} is not {what}: it has {size} bytes, more than {limit}; check the path"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  found = dict(pairs)
  if len(found) < len(pairs):  # json takes the last of them, and says nothing
    twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
    raise ValueError(f"it has the key {twice[:40]!r} twice")
  return found


def _sync_folder(folder: Path) -> None:
  """Makes the new name of a file durable; file systems that cannot do so keep theirs in another way."""
  with contextlib.suppress(OSError):
    handle = os.open(folder, os.O_RDONLY)
    try:
      os.fsync(handle)
    finally:
      os.close(handle)


def _umask() -> int:
  mask = os.umask(0)
  os.umask(mask)
  return mask
