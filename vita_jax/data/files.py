"""Reading npz files that may be missing, damaged or hostile; nothing here unpickles."""

import os
import zipfile
import zlib

import numpy as np


def read_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """All arrays of an npz file, each decompressed once (zip checks a CRC on the way).

  Raises:
    FileNotFoundError: no such file.
    ValueError: not an npz, a truncated or damaged one, or one that holds object arrays (these
      are pickles, which can run code when read).
  """
  path = os.fspath(path)
  if not os.path.isfile(path):
    raise FileNotFoundError(f"no file {path}; check the path")
  with open(path, "rb") as f:
    start = f.read(4)
  if start not in (b"PK\x03\x04", b"PK\x05\x06"):
    raise ValueError(f"{path} is not an npz file; write it with numpy.savez_compressed")
  try:
    # Opened here: np.load leaves a file of its own open when its zip is damaged.
    with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as npz:
      return {name: _member(npz, name, path) for name in npz.files}
  except (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, RuntimeError) as e:
    raise ValueError(f"{path} is truncated or damaged ({e}); fetch or write it again") from e


def _member(npz, name, path):
  try:
    member = npz[name]
  except ValueError as e:
    if "Object arrays" in str(e) or "pickle" in str(e):
      raise ValueError(
        f"{path}: array {name!r} holds Python objects, which are never read "
        "(pickle can run code); save it with a numeric dtype"
      ) from e
    raise ValueError(f"{path}: array {name!r} is damaged ({e}); fetch or write it again") from e
  if not isinstance(member, np.ndarray):  # numpy hands out other zip members as raw bytes
    raise ValueError(
      f"{path}: member {name!r} is not a numpy array; write the file with numpy.savez_compressed"
    )
  return member
