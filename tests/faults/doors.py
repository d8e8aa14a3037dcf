"""Hostile files of every kind through their doors: one clear line each, and no memory beyond a stated limit.

  python tests/faults/doors.py --examples=1000

Hypothesis makes files that are damaged, lie about their sizes, or are something else. Wrong is: an error but
ValueError, a message of several lines or without the file's name, a warning, more than 10 s, or an
allocation beyond 1.5 GiB over what the process had before (a limit of the kernel; the doors' own limits are
lower, but an image of 64 million pixels is allowed). Input that turns out to be good is counted apart.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import math
import os
import resource
import struct
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import hypothesis.strategies as st  # noqa: E402
import numpy as np  # noqa: E402
from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.numpy import save  # noqa: E402

from vita_jax.base.files import load_python_file, read_json  # noqa: E402
from vita_jax.data.files import read_metadata, read_npz, read_safetensors  # noqa: E402
from vita_jax.data.files_image import read_image  # noqa: E402
from vita_jax.data.files_text import open_cells, read_text  # noqa: E402
from vita_jax.data.files_tfjs import read_tfjs  # noqa: E402
from vita_jax.data.files_tflite import read_tflite  # noqa: E402
from vita_jax.data.tables import read_table  # noqa: E402

SECONDS = 10
MEMORY = 3 << 29
NUMBERS = (0, 1, -1, 2, 3, 255, 256, 2**16, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63, 2**64, 10**30)


class Door(NamedTuple):
  """What opens a kind of file, its ending, and what is tried on it."""

  opens: Callable[[Path], Any]
  ending: str
  content: st.SearchStrategy[bytes]


@st.composite
def damaged(draw, contents: st.SearchStrategy[bytes]) -> bytes:
  """A file that is cut, has flipped bits, overwritten numbers, or parts that are moved."""
  content = bytearray(draw(contents))
  for _ in range(draw(st.integers(1, 3))):
    if not content:
      break
    at = draw(st.integers(0, len(content) - 1))
    how = draw(st.sampled_from(("cut", "flip", "number", "insert", "double", "zero")))
    if how == "cut":
      content = content[:at]
    elif how == "flip":
      content[at] ^= 1 << draw(st.integers(0, 7))
    elif how == "number":
      kind, number = draw(st.sampled_from(("<H", "<I", "<Q", ">I"))), draw(st.sampled_from(NUMBERS))
      packed = struct.pack(kind, number % 2 ** (8 * struct.calcsize(kind)))
      content[at : at + len(packed)] = packed
    elif how == "insert":
      content[at:at] = draw(st.binary(min_size=1, max_size=20))
    elif how == "double":
      content[at:at] = content[: draw(st.integers(0, len(content)))]
    else:
      content[at : at + draw(st.integers(1, 40))] = b""
  return bytes(content)


@st.composite
def array_files(draw) -> bytes:
  """The .npy form of an array, with any header."""
  number = st.one_of(st.integers(0, 5), st.sampled_from(NUMBERS))
  shape = tuple(draw(st.lists(number, max_size=4)))
  kinds = ("<f4", ">i8", "<U3", "<U0", "|b1", "|O", "|V4", "<f16", "<M8[s]", "x", "<f3", "|S0", "<c8")
  entries = {"descr": draw(st.sampled_from(kinds)), "fortran_order": draw(st.booleans()), "shape": shape}
  if draw(st.integers(0, 9)) == 0:
    entries[draw(st.sampled_from(("descr", "shape", "more")))] = draw(
      st.sampled_from((None, [], "a", (), 3.5))
    )
  text = repr(entries).encode() if draw(st.integers(0, 5)) else draw(st.binary(max_size=60))
  held = draw(st.one_of(st.integers(0, 64), st.sampled_from((10_000, 300_000))))
  version = draw(st.sampled_from((b"\1\0", b"\2\0", b"\3\0", b"\1\0")))
  length = len(text) if draw(st.integers(0, 5)) else draw(st.sampled_from((0, 3, 60_000)))
  head = struct.pack("<H" if version == b"\1\0" else "<I", length)
  return b"\x93NUMPY" + version + head + text + bytes(held)


@st.composite
def zips(draw) -> bytes:
  """A zip file of arrays, in any way of compression; what it declares may be overwritten."""
  buffer = io.BytesIO()
  ways = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)
  with zipfile.ZipFile(buffer, "w") as file:
    for i in range(draw(st.integers(0, 3))):
      name = draw(st.sampled_from(("x.npy", f"{i}.npy", "notes.txt", "a/b.npy")))
      good = io.BytesIO()
      np.save(good, np.arange(draw(st.integers(0, 50)), dtype=draw(st.sampled_from(("i2", "f8")))))
      content = good.getvalue() if draw(st.booleans()) else draw(array_files())
      file.writestr(name, content, draw(st.sampled_from(ways)))
  content = bytearray(buffer.getvalue())
  at = content.rfind(b"PK\1\2")
  if at >= 0 and draw(st.booleans()):  # sizes in the directory
    field = draw(st.sampled_from((20, 24)))
    content[at + field : at + field + 4] = struct.pack("<I", draw(st.sampled_from(NUMBERS)) % 2**32)
  return bytes(content)


@st.composite
def good_tensors(draw) -> bytes:
  names = st.text("abc/", min_size=1, max_size=3)
  kinds = st.sampled_from(("f4", "f2", "i8", "?", "u1", "c8"))
  arrays = draw(st.dictionaries(names, st.builds(np.ones, st.integers(0, 4), kinds), max_size=3))
  return save(arrays, draw(st.sampled_from((None, {"card": "{}"}))))


@st.composite
def tensor_files(draw) -> bytes:
  header, at = {}, 0
  for i in range(draw(st.integers(0, 3))):
    kind = draw(st.sampled_from(("F32", "BF16", "F8_E4M3", "F8_E5M2", "F4", "BOOL", "I64", "C64", "X9", 3)))
    shape = draw(st.lists(st.one_of(st.integers(0, 4), st.sampled_from(NUMBERS)), max_size=3))
    count = math.prod(shape) if len(shape) < 3 and all(0 <= n < 100 for n in shape) else 7
    size = {"F32": 4, "BF16": 2, "I64": 8, "C64": 8}.get(kind, 1) * count
    offsets = [at, at + size]
    if draw(st.integers(0, 4)) == 0:
      offsets = draw(st.lists(st.sampled_from(NUMBERS), max_size=3))
    header[f"t{i % 2}{i}"] = {"dtype": kind, "shape": shape, "data_offsets": offsets}
    at += size
  if draw(st.booleans()):
    header["__metadata__"] = draw(st.sampled_from(({"a": "b"}, {"a": 1}, [], "x")))
  text = json.dumps(header).encode() if draw(st.integers(0, 5)) else draw(st.binary(max_size=50))
  length = len(text) if draw(st.integers(0, 4)) else draw(st.sampled_from(NUMBERS)) % 2**64
  return struct.pack("<Q", length) + text + bytes(draw(st.integers(0, 3)) + at)


@st.composite
def good_tables(draw) -> bytes:
  width, separator = draw(st.integers(2, 3)), draw(st.sampled_from((",", "\t")))
  cell = st.sampled_from(("a", "12", '"x"', '"a\nb"', "ä", ""))
  rows = draw(st.lists(st.lists(cell, min_size=width, max_size=width), max_size=5))
  lines = [[f"c{i}" for i in range(width)], *rows]
  return draw(st.sampled_from(("\n", "\r\n"))).join(separator.join(row) for row in lines).encode()


@st.composite
def tables(draw) -> bytes:
  """Lines of cells: quotation marks, separators, line ends and bytes of all kinds, sometimes a long cell."""
  cell = st.one_of(
    st.sampled_from(("a", "b", "1", "", '"', '"x"', '"y', "ä", "\0", "a\rb", "1;2", " ")), st.text(max_size=4)
  )
  separator, end = (
    draw(st.sampled_from((",", "\t", ";"))),
    draw(st.sampled_from(("\n", "\r\n", "\r", "\u2028"))),
  )
  rows = draw(st.lists(st.lists(cell, min_size=1, max_size=3), max_size=6))
  if draw(st.integers(0, 5)) == 0:
    rows.append(["x" * draw(st.sampled_from((131_073, 1_000_000))), "1"])
    rows += [["y", "2"]] * draw(st.sampled_from((1, 3000)))
  text = end.join(separator.join(row) for row in rows)
  coding = draw(st.sampled_from(("utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1")))
  return text.encode(coding, errors="replace")


@st.composite
def texts(draw) -> bytes:
  content = draw(st.one_of(tables(), good_tables()))
  packed = gzip.compress(
    content if draw(st.booleans()) else content + bytes(draw(st.sampled_from((0, 10**7))))
  )
  return packed if draw(st.integers(0, 3)) else content


@st.composite
def objects(draw) -> bytes:
  depth = draw(st.sampled_from((1, 10, 1000, 100_000)))
  leaves = st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=5))
  value = draw(
    st.recursive(leaves, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=3), x))
  )
  text = draw(
    st.sampled_from(
      (json.dumps({"a": value}), json.dumps(value), '{"a":' * depth + "1" + "}" * depth, "[" * depth)
      + ('{"a": 1, "a": 2}', '{"a": ' + "9" * 5000 + "}", '{"a": NaN}', '{"a": "\\ud800"}', "{}", "")
    )
  )
  return text.encode(draw(st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "utf-32"))), errors="replace")


@st.composite
def images(draw) -> bytes:
  """A small image of any format; a PNG may claim any size."""
  kind = draw(st.sampled_from(("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "ICO")))
  mode = draw(st.sampled_from(("RGB", "L", "1", "P", "RGBA", "I;16", "CMYK", "F")))
  size = (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
  image, buffer = Image.new(mode, size), io.BytesIO()
  try:
    image.save(buffer, kind)
  except (OSError, ValueError, KeyError):  # this format has no such mode
    image.convert("RGB").save(buffer, kind)
  content = bytearray(buffer.getvalue())
  if kind == "PNG" and draw(st.booleans()):
    claimed = [draw(st.sampled_from((0, 1, 5000, 8000, 60_000, 2**31 - 1))) for _ in range(2)]
    content[16:24] = struct.pack(">II", *claimed)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
  return bytes(content)


def _all_rows(path: Path) -> int:
  separator = "\t" if ".tsv" in path.suffixes else ","
  return sum(1 for _ in open_cells(path, separator=separator, quotes=separator == ",").rows)


TESTS = Path(__file__).parents[1] / "data"
TFJS = load_python_file(TESTS / "test_files_tfjs.py")
TFLITE = load_python_file(TESTS / "test_files_tflite.py")


def _graph_model(path: Path) -> Any:
  """The model with its weights beside it."""
  for name, content in TFJS.parts().items():
    (path.parent / name).write_bytes(content)
  return read_tfjs(path)


TENSORS = st.one_of(good_tensors(), tensor_files())
TABLES = st.one_of(good_tables(), tables())
DOORS = {
  "npz": Door(read_npz, ".npz", zips()),
  "safetensors": Door(read_safetensors, ".safetensors", TENSORS),
  "header of safetensors": Door(read_metadata, ".safetensors", TENSORS),
  "csv": Door(_all_rows, ".csv", TABLES),
  "tsv.gz": Door(_all_rows, ".tsv.gz", texts()),
  "table": Door(read_table, ".csv", TABLES),
  "text": Door(read_text, ".txt.gz", texts()),
  "json": Door(read_json, ".json", objects()),
  "image": Door(read_image, ".img", images()),
  "tfjs": Door(_graph_model, ".json", st.one_of(st.just(TFJS.text()), objects())),
  "tflite": Door(read_tflite, ".tflite", st.just(TFLITE.toy())),
}


def verdict(door: Door, path: Path) -> tuple[str, str]:
  """(what it is, message); in capitals where it is wrong."""
  heard: list[str] = []
  warnings.showwarning = lambda message, *_, **__: heard.append(str(message))
  start = time.monotonic()
  try:
    door.opens(path)
    found = "good input", ""
  except MemoryError:
    return "MEMORY", ""
  except ValueError as error:
    text = str(error)
    wrong = "\n" in text or len(text) > 1000 or str(path) not in text
    found = ("UNCLEAR LINE" if wrong else "MEMORY" if "MemoryError" in text else "one clear line"), text
  except BaseException as error:  # noqa: B036  panics of Rust are no Exceptions
    return f"{type(error).__name__.upper()} ESCAPES", str(error)
  if heard:
    return "WARNS", heard[0]
  return ("SLOW", found[1]) if time.monotonic() - start > SECONDS else found


def _checked(kind: str, path: Path, counts: Counter, *, lines: set[str] | None) -> Callable[[bytes], None]:
  def check(content: bytes) -> None:
    path.write_bytes(content)
    word, text = verdict(DOORS[kind], path)
    counts[kind, word] += 1
    if word.isupper():
      print(f"{word}: {kind}, {len(content)} bytes {content[:300]!r}\n  {text[:1000]}", flush=True)
    elif lines is not None and text and text not in lines:
      lines.add(text)
      print(f"  {text[:200]}", flush=True)

  return check


def main(examples: int, *, verbose: bool = False) -> Counter:
  """Returns {(kind, verdict): count}; prints every case whose verdict is in capitals."""
  counts: Counter = Counter()
  pages = int(Path("/proc/self/statm").read_text().split()[0])
  limit = pages * resource.getpagesize() + MEMORY
  resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
  options = settings(
    max_examples=-(-examples // len(DOORS)),
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
  )
  with tempfile.TemporaryDirectory() as folder:
    for kind, door in DOORS.items():
      check = _checked(kind, Path(folder) / f"f{door.ending}", counts, lines=set() if verbose else None)
      options(given(st.one_of(damaged(door.content), door.content))(check))()
  return counts


if __name__ == "__main__":
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--examples", type=int, default=1000)
  parser.add_argument("--verbose", action="store_true", help="print each line once")
  chosen = parser.parse_args()
  found = main(chosen.examples, verbose=chosen.verbose)
  for (kind, word), count in sorted(found.items()):
    print(f"{count:>5}  {kind}: {word}")
  print(f"{sum(count for (_, word), count in found.items() if word != 'good input'):>5}  bad files")
  sys.exit(1 if any(word.isupper() for _, word in found) else 0)
