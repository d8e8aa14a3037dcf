"""Files that claim more than they hold, are damaged, or hold what is not read: one line, no memory taken."""

import json
import struct
import tracemalloc
import zipfile
import zlib

import ml_dtypes
import numpy as np
import pytest

from vita_jax.base.files import parse_json, read_json
from vita_jax.data import files, text_squad
from vita_jax.data.files import read_metadata, read_npz, read_safetensors
from vita_jax.data.files_text import MAX_CELL, open_cells, read_text, texts
from vita_jax.data.text_squad import read_squad
from vita_jax.data.text_tokenizer import load_tokenizer

MEGABYTE = 1 << 20


def refused(function, *args, match, memory=8 * MEGABYTE, **options):
  """The call ends in a ValueError of one line, and takes little memory on the way."""
  tracemalloc.start()
  try:
    with pytest.raises(ValueError, match=match) as error:
      function(*args, **options)
    assert tracemalloc.get_traced_memory()[1] < memory
  finally:
    tracemalloc.stop()
  assert "\n" not in str(error.value) and len(str(error.value)) < 600
  assert "<ast." not in str(error.value) and " at 0x" not in str(error.value)
  return str(error.value)


def npy(header, content=b"", version=b"\x01\x00"):
  """An array file with any text as its header."""
  text = header if isinstance(header, bytes) else repr(header).encode()
  width = "<H" if version == b"\x01\x00" else "<I"
  return b"\x93NUMPY" + version + struct.pack(width, len(text)) + text + content


def described(shape, dtype="<f8", by_columns=False):
  return {"descr": dtype, "fortran_order": by_columns, "shape": shape}


@pytest.fixture
def npz(tmp_path):
  """Writes a zip file of one array file and returns its path."""

  def write(content, *, name="x.npy", how=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", how) as file:
      file.writestr(name, content)
    return tmp_path / "a.npz"

  return write


def test_arrays_of_every_kind_come_back(tmp_path):
  arrays = {
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "empty": np.zeros((0, 10**12), np.int8),
    "scalar": np.float32(3),
    "text": np.array(["a", "größe"]),
    "bytes": np.array([b"ab", b"c"]),
    "flags": np.array([True, False]),
    "times": np.array(["2020-01-01"], "M8[D]"),
    "complex": np.array([1 + 2j]),
    "big endian": np.arange(3, dtype=">i4"),
  }
  for save in (np.savez, np.savez_compressed):
    save(tmp_path / "a.npz", **arrays)
    found = read_npz(tmp_path / "a.npz")
    assert found.keys() == arrays.keys()
    for name, x in arrays.items():
      np.testing.assert_array_equal(found[name], x)
      assert found[name].dtype == np.asarray(x).dtype.newbyteorder("=") and found[name].flags.writeable


@pytest.mark.parametrize(
  ("header", "match"),
  [
    (described((2**41,)), "declares 17592186044416 bytes and holds 16"),
    (described((2**70, 3)), "declares .* holds 16"),
    (described((-2,)), "broken header"),
    (described((True, 2)), "broken header"),
    (described((2, 0.5)), "broken header"),
    (described((10**12,), "<U0"), "of dtype <U0"),
    (described((2,), "|V8"), r"of dtype \|V8"),
    (described((2,), [("a", "<f4")]), "of dtype"),
    (described((1,), "|O"), "holds Python objects"),
    (described((2,), "<f3"), "broken header"),
    (described((1,) * 70), "broken header|declares"),
    (b"{'descr': '<f8'", "broken header"),
    (b"(" * 9000, "broken header"),
    (b"__import__('os').abort()", "broken header .it holds an expression, not plain values"),
    (b"{'descr': f(), 'fortran_order': False, 'shape': (2,)}", "broken header .it holds an expression"),
    (b"{" + b" " * 60_000, "header of"),
  ],
)
def test_headers_that_lie_are_refused_before_memory_is_taken(npz, header, match):
  path = npz(npy(header, b"\0" * 16))
  assert path.stat().st_size < 700
  refused(read_npz, path, match=match)


def test_a_small_file_that_expands_is_refused(npz, tmp_path, monkeypatch):
  big = npz(npy(described((3 * MEGABYTE,)), bytes(24 * MEGABYTE)))
  assert big.stat().st_size < 60_000
  refused(read_npz, big, match="expands to 25.* bytes, more than 1048576", limit=MEGABYTE)
  assert read_npz(big)["x"].shape == (3 * MEGABYTE,)
  # 3 MB of zeros that would take 3 GiB: by default 100 times the file, or 256 MiB.
  assert files.expansion_limit(big) == 256 * MEGABYTE
  monkeypatch.setattr(files, "FREE", 2 * MEGABYTE)
  limit = 100 * big.stat().st_size
  refused(
    read_npz, big, match=f"has {big.stat().st_size} bytes and expands to 25.* more than {limit}; .*limit="
  )
  assert read_npz(big, limit=64 * MEGABYTE)["x"].shape == (3 * MEGABYTE,)
  monkeypatch.setattr(files, "LIMIT", MEGABYTE)
  assert files.expansion_limit(big) == MEGABYTE
  monkeypatch.undo()
  # The directory says that the member is larger than its compressed bytes can be.
  lying = bytearray(npz(npy(described((2,)), bytes(16))).read_bytes())
  at = lying.rindex(b"PK\x01\x02")
  lying[at + 24 : at + 28] = struct.pack("<I", 2**31)
  (tmp_path / "lying.npz").write_bytes(lying)
  refused(read_npz, tmp_path / "lying.npz", match="declares 2147483648 bytes, more than it can hold")
  # It says that the member is smaller: what comes after is not taken in.
  lying[at + 24 : at + 28] = struct.pack("<I", 100)
  (tmp_path / "lying.npz").write_bytes(lying)
  refused(read_npz, tmp_path / "lying.npz", match="damaged")


@pytest.mark.parametrize("how", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_other_compressions_are_refused(npz, how):
  refused(read_npz, npz(npy(described((2,)), bytes(16)), how=how), match="in a way that numpy never does")


def test_members_that_are_there_twice_or_no_arrays_are_named(npz, tmp_path):
  path = npz(npy(described((2,)), bytes(16)))
  with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
    file.writestr("x.npy", npy(described((2,)), bytes(16)))
  refused(read_npz, path, match="'x.npy' is there twice")
  refused(read_npz, npz(b"hello", name="notes.npy"), match="not a numpy array")
  refused(read_npz, npz(npy(described((2,)), bytes(16), b"\x03\x00")), match=r"format \(3, 0\)")


def test_bytes_that_are_no_values_are_refused(npz):
  refused(read_npz, npz(npy(described((2,), "|b1"), b"\1\7")), match="no booleans")
  refused(read_npz, npz(npy(described((1,), "<U1"), b"\xff\xff\xff\x7f")), match="no text")
  refused(read_npz, npz(npy(described((1,), "<U1"), struct.pack("<I", 0xD801))), match="no text")


def exhaust(path, **options):
  for _ in open_cells(path, **options).rows:
    pass


TENSOR = b'{"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}'


def tensors(path, header, content=b""):
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  path.write_bytes(struct.pack("<Q", len(text)) + text + content)
  return path


def test_tensors_of_every_kind_come_back(tmp_path):
  from safetensors.numpy import save_file

  arrays = {
    "half": np.float16([1.5]),
    "brain": np.array([[1.5, -2]], ml_dtypes.bfloat16),
    "flag": np.array([True]),
    "number": np.int64(2**40) * np.ones((2, 1), np.int64),
  }
  save_file(arrays, tmp_path / "a.safetensors", metadata={"note": "x"})
  found = read_safetensors(tmp_path / "a.safetensors")
  for name, x in arrays.items():
    assert found[name].dtype == x.dtype
    np.testing.assert_array_equal(found[name], x)
  assert read_metadata(tmp_path / "a.safetensors") == {"note": "x"}


@pytest.mark.parametrize(
  ("header", "match"),
  [
    ({"x": {"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}}, "'x' is F8_E4M3, which is not read"),
    ({"x": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]}}, "not a readable"),
    ({"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]}}, "not a readable"),
    ({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, "not a readable"),
    ({"x": {"dtype": "BOOL", "shape": [8], "data_offsets": [0, 8]}}, "no booleans"),
    (b"[" * 50_000, "not a readable"),
    (b"", "not a readable"),
    (b"{}" + b"\0" * 9, "not a readable"),
    (b'{"x": %(x)s, "y": %(x)s, "x": %(x)s}' % {b"x": TENSOR}, "has the key 'x' twice"),
    (b'{"__metadata__": {"a": "b", "a": "c"}, "x": %s}' % TENSOR, "has the key 'a' twice"),
  ],
)
def test_broken_tensors_are_refused(tmp_path, header, match):
  path = tensors(tmp_path / "a.safetensors", header, b"\7" * 8)
  refused(read_safetensors, path, match=match)


def test_a_header_longer_than_the_file_is_refused(tmp_path):
  path = tmp_path / "a.safetensors"
  path.write_bytes(b"")
  refused(read_safetensors, path, match="a.safetensors is empty; fetch or export it again")
  for content in (b"\1\2", struct.pack("<Q", 2**60) + b"{}", b"PK\x03\x04" * 30):
    path.write_bytes(content)
    refused(read_safetensors, path, match="not a readable safetensors file")
    refused(read_metadata, path, match="not a readable safetensors file")


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_bom_make_no_difference(tmp_path, bom, end):
  path = tmp_path / "a.csv"
  path.write_bytes(bom + f'name,größe{end}a,"1, 2{end}x"{end}{end}b,3'.encode())
  cells = open_cells(path)
  assert cells.header == ["name", "größe"]
  assert list(cells.rows) == [(1, ["a", f"1, 2{end}x"]), (2, ["b", "3"])]
  assert read_text(path).split("\n")[0] == "name,größe" and "\r" not in read_text(path)
  (tmp_path / "a.json").write_bytes(bom + f'{{"a":{end} 1}}'.encode())
  assert read_json(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize(
  ("content", "match"),
  [
    (b"", "no header"),
    (b"a,,b\n1,2,3\n", "column 2 of 3 has no name in the header"),
    (b",a\n0,1\n", "column 1 of 2 has no name"),
    (b"a,b,a\n1,2,3\n", "the column 'a' twice"),
    (b"a," + b"," * 200_000, "column 2 of 200002 has no name"),
    (b"a;b\n1;2\n", "separated by ';': save it with commas"),
    (b"a,b\n1\n", "row 1 has 1 cells, the header 2"),
    (b'a,b\n1,2\n"3,4\n5,6\n', "row 2 cannot be split .*quotation mark not closed"),
    (b'a,b\n"1"x,2\n', "row 1 cannot be split"),
    ("a,b\n1,2".encode("utf-16"), "not a text in UTF-8"),
    (b"a,b\n1,\0\n", "NUL characters"),
    (b"a,b\n1,\xff\n", "not a text in UTF-8"),
  ],
)
def test_tables_that_are_none_are_refused(tmp_path, content, match):
  path = tmp_path / "a.csv"
  path.write_bytes(content)
  refused(exhaust, path, match=match, memory=64 * MEGABYTE)


def test_long_cells_are_read_and_endless_ones_are_not(tmp_path, monkeypatch):
  path = tmp_path / "a.csv"
  path.write_text("a,b\n" + "x" * 200_000 + ",1\n")
  ((_, row),) = open_cells(path).rows
  assert len(row[0]) == 200_000
  path.write_text("a,b\n" + "x" * (MAX_CELL + 10) + ",1\n")
  refused(exhaust, path, match="a line has more than", memory=80 * MEGABYTE)


def test_one_long_cell_among_many_does_not_become_gigabytes():
  from vita_jax.data.tables import as_table

  cells = ["x" * 100_000] + ["y"] * 49_999
  refused(texts, cells, "t.csv: column 'a'", match="'a' has a text of 100000 characters: 50000 rows")
  refused(as_table, {"a": np.array(cells, object)}, match="text of 100000 characters", memory=20 * MEGABYTE)
  assert texts(["a", "bc"], "").dtype == "<U2" and texts([], "").shape == (0,)


def test_damaged_and_endless_archives_of_text_are_refused(tmp_path, monkeypatch):
  import gzip

  path = tmp_path / "a.tsv.gz"
  path.write_bytes(gzip.compress(b"a\tb\n" + b"1\t2\n" * 20_000))
  assert len(read_text(path)) == 80_004
  refused(read_text, path, match="more than 65536 bytes", limit=1 << 16)
  with monkeypatch.context() as patch:
    patch.setattr(files, "FREE", 1000)
    limit = 100 * path.stat().st_size
    assert limit < 80_004
    refused(read_text, path, match=f"more than {limit} bytes")
    # Counted before the header is looked at: a bomb of gigabytes is not split into cells first.
    refused(open_cells, path, match=f"expands to more than {limit} bytes", separator="\t")
  for content in (path.read_bytes()[:-40], b"no gzip", b"\x1f\x8b\x08" + b"\0" * 30, zlib.compress(b"x")):
    path.write_bytes(content)
    refused(read_text, path, match="not a text in UTF-8", memory=64 * MEGABYTE)
    refused(exhaust, path, match="not a text in UTF-8", separator="\t")


@pytest.mark.parametrize(
  ("content", "match"),
  [
    (b"[" * 100_000, "nested too deeply"),
    (b'{"a": ' * 100_000, "nested too deeply"),
    (b'{"a": 1, "b": {"c": 1, "c": 2}}', "key 'c' twice"),
    (b"[1]", "it holds a list"),
    (b"\xff", "can't decode"),
    (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
  ],
)
def test_json_that_is_none_is_refused(content, match):
  refused(parse_json, content, "settings", match=match)


def test_json_that_is_too_large_is_refused_before_it_is_parsed(tmp_path):
  path = tmp_path / "a.json"
  with path.open("wb") as file:
    file.truncate(17 * MEGABYTE)
  for what in ("a schema (JSON)", "a tokenizer.json"):
    refused(read_json, path, what=what, match="it has 17825792 bytes, more than 16777216", memory=MEGABYTE)
  refused(parse_json, b" " * 100, "settings", limit=99, match="it has 100 bytes, more than 99")
  (tmp_path / "vocab.txt").write_text("[PAD]\n" * 3_000_000)
  refused(load_tokenizer, tmp_path, match="more than 16777216 bytes", memory=20 * MEGABYTE)


def test_questions_may_be_longer_than_settings_and_have_a_limit_too(tmp_path, monkeypatch):
  path = tmp_path / "squad.json"
  path.write_text(json.dumps({"data": []}) + " " * 20 * MEGABYTE)
  refused(read_squad, path, match="holds no question", memory=80 * MEGABYTE)
  monkeypatch.setattr(text_squad, "LIMIT", 19 * MEGABYTE)
  refused(read_squad, path, match="more than 19922944 bytes", memory=40 * MEGABYTE)


def test_the_memory_is_that_of_the_arrays(npz):
  """Zeros are expanded in pieces: there is no second copy of them."""
  path = npz(npy(described((64 * MEGABYTE,), "|u1"), bytes(64 * MEGABYTE)))
  tracemalloc.start()
  found = read_npz(path)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert found["x"].nbytes == 64 * MEGABYTE and peak < 72 * MEGABYTE
