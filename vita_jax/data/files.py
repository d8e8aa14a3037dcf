"""The doors for files of arrays, npz and safetensors: what is missing, damaged or hostile gets one line.

Nothing here unpickles. What a file declares (shapes, sizes, dtypes) is compared with what it holds before
memory is taken, and an npz may not expand to more than a stated limit. `files_text.py` has the doors for
text, CSV and TSV, `files_image.py` that for images, `vita_jax.base.read_json` reads JSON.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from vita_jax.base.files import parse_json

LIMIT = 4 << 30  # bytes that the arrays of an npz file may take
RATIO = (
  100  # times the bytes of a compressed file that it may expand to: numbers and texts pack 2 to 30 times
)
FREE = 256 << 20  # bytes that any may expand to: masks and one-hot features pack up to a thousand times
PIECE = 1 << 20  # bytes that are decompressed at a time
DEFLATE = 1040  # deflate makes at most 1,032 bytes of one
HEADER = 16 << 20  # bytes of a safetensors header
ARRAY_HEADER = 10_000  # bytes of the header of an array, as numpy's own limit
# Dtypes of safetensors that NumPy (with ml_dtypes) has.
TENSORS = "BOOL U8 I8 U16 I16 U32 I32 U64 I64 F16 BF16 F32 F64 C64".split()


def read_npz(path: str | os.PathLike, *, limit: int | None = None) -> dict[str, np.ndarray]:
  """Reads all arrays of an npz file, each decompressed once, its CRC checked.

  Args:
    path: the file.
    limit: bytes that its arrays may take together; None: 100 times the bytes of the file, at least 256 MiB
      and at most 4 GiB (see `expansion_limit`).

  Returns:
    name -> array, in the machine's byte order.

  Raises:
    FileNotFoundError: no such file.
    ValueError: not an npz, or a truncated or damaged one; one that declares more than it holds, or expands to
      more than `limit`; or one that holds object arrays (these are pickles, which can run code when read).
  """
  path = existing(path)
  with path.open("rb") as file:
    start = file.read(4)
  if start not in (b"PK\x03\x04", b"PK\x05\x06"):
    raise ValueError(f"{path} is not an npz file; write it with numpy.savez_compressed")
  try:
    with zipfile.ZipFile(path) as archive:
      members = archive.infolist()
      _check_members(path, members, expansion_limit(path) if limit is None else limit)
      return {m.filename.removesuffix(".npy"): _read_member(archive, m, path) for m in members}
  except _Refused as error:
    raise ValueError(str(error)) from error
  except Exception as error:  # zipfile, zlib and struct raise many types on damaged files
    raise ValueError(f"{path} is truncated or damaged ({cause(error)}); fetch or write it again") from error


def read_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads all tensors of a safetensors file: name -> array; bfloat16 as `ml_dtypes.bfloat16`.

  Raises:
    FileNotFoundError: no such file.
    ValueError: not a safetensors file, a truncated or damaged one, one with two tensors of one name, or one
      with tensors of a dtype that NumPy does not have (float8 and smaller), by name.
  """
  path = existing(path)
  with _open_tensors(path) as file:
    try:
      kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}
      for name, kind in kinds.items():
        if kind not in TENSORS:
          raise _Refused(f"{path}: tensor '{name}' is {kind}, which is not read; save it as F32, F16 or BF16")
      return {name: _checked(file.get_tensor(name), f"{path}: tensor '{name}'") for name in kinds}
    except _Refused as error:
      raise ValueError(str(error)) from error
    except Exception as error:
      raise ValueError(_not_tensors(path, error)) from error


def read_metadata(path: str | os.PathLike) -> dict[str, str]:
  """Reads the texts in a safetensors file's header, {} where it has none; raises as `read_safetensors`."""
  path = existing(path)
  with _open_tensors(path) as file:
    return dict(file.metadata() or {})


def expansion_limit(path: Path) -> int:
  """Returns the bytes that a compressed file may expand to unless its reader is told otherwise.

  They are `RATIO` times its own, at least `FREE` and at most `LIMIT`: 3 MB of zeros in disguise do not become
  3 GiB of memory.
  """
  return min(LIMIT, max(FREE, RATIO * path.stat().st_size))


def existing(path: str | os.PathLike) -> Path:
  """Returns the path, "~" expanded, of a file that is there.

  Raises:
    FileNotFoundError: it is not, or is no file.
  """
  path = Path(path).expanduser()
  if not path.is_file():
    raise FileNotFoundError(f"no file {path}; check the path")
  return path


def cause(error: BaseException) -> str:
  """Returns what an error says, in one line of at most 200 characters."""
  text = " ".join(str(error).split()) or type(error).__name__
  return text if len(text) <= 200 else f"{text[:200]}..."


class _Refused(Exception):
  """A whole message, to be handed on as it is."""


def _check_members(path: Path, members: list[zipfile.ZipInfo], limit: int) -> None:
  """Compares what the directory of a zip file declares with its size, before anything is read."""
  size = path.stat().st_size
  names: set[str] = set()
  for m in members:
    where = f"{path}: member {m.filename!r}"
    if m.filename in names:
      raise _Refused(f"{where} is there twice; write the file again")
    names.add(m.filename)
    if m.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
      raise _Refused(f"{where} is compressed in a way that numpy never does; write the file with numpy.savez")
    if m.flag_bits & 1:
      raise _Refused(f"{where} is encrypted; write the file with numpy.savez")
    ratio = 1 if m.compress_type == zipfile.ZIP_STORED else DEFLATE
    if m.compress_size > size or m.file_size > ratio * m.compress_size:
      raise _Refused(f"{where} declares {m.file_size} bytes, more than it can hold; fetch or write it again")
  if (total := sum(m.file_size for m in members)) > limit:
    raise _Refused(
      f"{path} has {size} bytes and expands to {total} bytes, more than {limit}; store fewer or smaller"
      " arrays, or read it with vita_jax.data.read_npz(path, limit=...)"
    )


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> np.ndarray:
  name = member.filename.removesuffix(".npy")
  where = f"{path}: array {name!r}"
  with archive.open(member) as file:
    if member.filename == name or file.read(6) != b"\x93NUMPY":
      raise _Refused(
        f"{path}: member {member.filename!r} is not a numpy array; write the file with numpy.savez_compressed"
      )
    shape, by_columns, dtype, length = _header(file, where)
    count = math.prod(shape)
    declared = count * dtype.itemsize
    if declared != (held := member.file_size - length):
      raise _Refused(
        f"{where} declares {declared} bytes and holds {held}: it is damaged; fetch or write it again"
      )
    content = np.empty(declared, np.uint8)
    view, at = memoryview(content.data), 0
    while piece := file.read(PIECE):  # past the end, so that the CRC is checked
      view[at : at + len(piece)] = piece
      at += len(piece)
  if at != declared:
    raise EOFError(f"{where} ends after {at} of {declared} bytes")
  array = content.view(dtype).reshape(shape, order="F" if by_columns else "C")
  return _checked(array.astype(dtype.newbyteorder("="), copy=False), where)


def _header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
  """(shape, whether columns come first, dtype, bytes read so far) of an array whose magic was read."""
  version = tuple(file.read(2))
  if version not in ((1, 0), (2, 0)):
    raise _Refused(f"{where} is in the numpy format {version}; write the file with numpy.savez_compressed")
  width = 2 * version[0]
  prefix = file.read(width)
  length = int.from_bytes(prefix, "little")
  if length > ARRAY_HEADER:
    raise _Refused(f"{where} has a header of {length} bytes; fetch or write it again")
  read = np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
  try:
    shape, by_columns, dtype = read(io.BytesIO(prefix + file.read(length)))
  except Exception as error:  # SyntaxError, RecursionError and others of a literal that is none
    said = cause(error)
    if "malformed node" in said:  # "<ast.Call object at 0x7f...>"
      said = "it holds an expression, not plain values"
    raise _Refused(f"{where} has a broken header ({said}); fetch or write it again") from error
  if dtype.hasobject:
    raise _Refused(
      f"{where} holds Python objects, which are never read (pickle can run code); save it with a numeric"
      " dtype"
    )
  if any(type(n) is not int or n < 0 for n in shape) or len(shape) > 64:
    raise _Refused(f"{where} has a broken header (its shape is {shape}); fetch or write it again")
  if dtype.kind not in "biufcSUmM" or (int(dtype.itemsize) == 0 and 0 not in shape):
    raise _Refused(f"{where} is of dtype {dtype.str}, which is not read; save it as numbers or texts")
  return shape, by_columns, dtype, 8 + width + length


def _checked(array: np.ndarray, where: str) -> np.ndarray:
  """The array, if its bytes are values of its dtype: numpy takes any for booleans and texts."""
  if array.size == 0:
    return array
  if array.dtype.kind == "b" and np.max(array.view(np.uint8)) > 1:
    raise _Refused(f"{where} has bytes that are no booleans: it is damaged; fetch or write it again")
  if array.dtype.kind == "U":
    codes = np.ascontiguousarray(array).reshape(-1).view(np.uint32)
    if codes.max() > 0x10FFFF or ((codes >= 0xD800) & (codes < 0xE000)).any():
      raise _Refused(f"{where} has bytes that are no text: it is damaged; fetch or write it again")
  return array


def _open_tensors(path: Path) -> Any:
  import ml_dtypes  # noqa: F401  gives numpy the dtype bfloat16
  from safetensors import safe_open

  size = path.stat().st_size
  with path.open("rb") as file:
    header = int.from_bytes(file.read(8), "little")
    if size == 0:
      raise ValueError(f"{path} is empty; fetch or export it again")
    if size < 8 or header > min(size - 8, HEADER):
      raise ValueError(_not_tensors(path, ValueError(f"{size} bytes with a header of {header}")))
    content = file.read(header)
  try:
    parse_json(content, "its header", what="one of tensors")  # safetensors takes the last of equal names
    return safe_open(str(path), framework="numpy")
  except Exception as error:
    raise ValueError(_not_tensors(path, error)) from error


def _not_tensors(path: Path, error: Exception) -> str:
  return f"{path} is not a readable safetensors file ({cause(error)}); fetch or export it again"
