"""TensorFlow Lite models: a toy one made by the flatbuffers library, and what is damaged or foreign."""

import flatbuffers
import numpy as np
import pytest

from vita_jax.data.files_tflite import read_tflite
from vita_jax.data.op_graph import convolutions

KERNEL = np.arange(3 * 3 * 3 * 2, dtype=np.float32).reshape(3, 3, 3, 2)  # [outputs, h, w, inputs]
BIAS = np.array([0.5, -1.0, 2.0], np.float32)
DEPTH = np.arange(-4, 5, dtype=np.int8).reshape(1, 3, 3, 1).repeat(3, -1)
SCALE, ZERO = np.array([0.5, 0.25, 2.0], np.float32), np.array([0, 1, -1])
FLOAT32, FLOAT16, INT8 = 0, 1, 9


def _vector(b, items):
  b.StartVector(4, len(items), 4)
  for item in reversed(items):
    b.PrependUOffsetTRelative(item)
  return b.EndVector()


def _table(b, fields, size=12):
  """fields: number -> (method of the builder, value, default)."""
  b.StartObject(size)
  for number, (kind, value, default) in fields.items():
    getattr(b, f"Prepend{kind}Slot")(number, value, default)
  return b.EndObject()


def _at(place):
  return ("UOffsetTRelative", place, 0)


def _ints(b, values):
  return _at(b.CreateNumpyVector(np.asarray(values, np.int32)))


def _tensor(b, name, shape, kind, buffer, quantization=0):
  text, dims = b.CreateString(name), _ints(b, shape)
  return _table(
    b,
    {
      0: dims,
      1: ("Int8", kind, 0),
      2: ("Uint32", buffer, 0),
      3: _at(text),
      4: _at(quantization),
    },
  )


def _operator(b, code, inputs, outputs, options=0):
  one, two = _ints(b, inputs), _ints(b, outputs)
  kind = ("Uint8", 1 if options else 0, 0)
  return _table(b, {0: ("Uint32", code, 0), 1: one, 2: two, 3: kind, 4: _at(options)})


def toy(*, kinds=(6, 3, 4, 32)):
  """DEQUANTIZE, CONV_2D (float16), DEPTHWISE_CONV_2D (int8 with scales), a custom operation."""
  b = flatbuffers.Builder(1024)
  contents = [b"", KERNEL.astype("<f2").tobytes(), BIAS.tobytes(), DEPTH.tobytes()]
  data = [b.CreateByteVector(content) if content else 0 for content in contents]
  buffers = _vector(b, [_table(b, {0: _at(place)}) for place in data])
  custom = b.CreateString("MyOp")
  codes = [_table(b, {0: ("Int8", kind, 0), 3: ("Int32", kind, 0)}) for kind in kinds[:-1]]
  codes = _vector(b, [*codes, _table(b, {0: ("Int8", kinds[-1], 0), 1: _at(custom)})])
  scales = _at(b.CreateNumpyVector(SCALE)), _at(b.CreateNumpyVector(ZERO.astype(np.int64)))
  quantized = _table(b, {2: scales[0], 3: scales[1], 6: ("Int32", 3, 0)})
  tensors = [
    _tensor(b, "x", (1, 8, 8, 2), FLOAT32, 0),
    _tensor(b, "half", KERNEL.shape, FLOAT16, 1),
    _tensor(b, "kernel", KERNEL.shape, FLOAT32, 0),
    _tensor(b, "bias", (3,), FLOAT32, 2),
    _tensor(b, "y", (1, 4, 4, 3), FLOAT32, 0),
    _tensor(b, "few", DEPTH.shape, INT8, 3, quantized),
    _tensor(b, "deep", DEPTH.shape, FLOAT32, 0),
    _tensor(b, "y", (1, 4, 4, 3), FLOAT32, 0),  # a name that is there twice
    _tensor(b, "", (1,), FLOAT32, 0),
  ]
  tensors = _vector(b, tensors)
  plain = _table(b, {0: ("Int8", 1, 0), 1: ("Int32", 2, 0), 2: ("Int32", 2, 0), 3: ("Int8", 3, 0)})
  deep = _table(b, {1: ("Int32", 1, 0), 2: ("Int32", 1, 0), 3: ("Int32", 1, 0), 5: ("Int32", 2, 1)})
  operators = [
    _operator(b, 3, (7,), (8,)),
    _operator(b, 0, (1,), (2,)),
    _operator(b, 0, (5,), (6,)),
    _operator(b, 1, (0, 2, 3), (4,), plain),
    _operator(b, 2, (4, 6, -1), (7,), deep),
  ]
  operators = _vector(b, operators)
  inputs, outputs = _ints(b, [0]), _ints(b, [8])
  graph = _vector(b, [_table(b, {0: _at(tensors), 1: inputs, 2: outputs, 3: _at(operators)})])
  b.Finish(_table(b, {0: ("Uint32", 3, 0), 1: _at(codes), 2: _at(graph), 4: _at(buffers)}), b"TFL3")
  return bytes(b.Output())


@pytest.fixture
def file(tmp_path):
  (tmp_path / "toy.tflite").write_bytes(toy())
  return tmp_path / "toy.tflite"


def test_constants_and_operations_come_back(file):
  graph = read_tflite(file)
  assert graph.inputs == ("x",) and graph.outputs == ("#8",)
  assert [op.kind for op in graph.ops] == ["CONV_2D", "DEPTHWISE_CONV_2D", "MyOp"]
  assert [op.name for op in graph.ops] == ["y", "y#7", "#8"]
  assert graph.ops[0].attributes == {
    "padding": "VALID",
    "stride_w": 2,
    "stride_h": 2,
    "activation": "RELU6",
    "dilation_w": 1,
    "dilation_h": 1,
  }
  assert graph.ops[1].attributes["dilation_w"] == 2 and graph.ops[1].attributes["padding"] == "SAME"
  assert graph.ops[1].inputs == ("y", "deep", "")
  np.testing.assert_array_equal(graph.tensors["kernel"], KERNEL)
  np.testing.assert_array_equal(graph.tensors["deep"], (DEPTH.astype(np.float32) - ZERO) * SCALE)


def test_convolutions_are_in_our_layout(file):
  plain, deep = convolutions(read_tflite(file))
  np.testing.assert_array_equal(plain.kernel, KERNEL.transpose(1, 2, 3, 0))
  np.testing.assert_array_equal(plain.bias, BIAS)
  assert deep.kernel.shape == (3, 3, 1, 3) and deep.bias is None and deep.depthwise
  np.testing.assert_array_equal(deep.kernel[..., 0, 2], (DEPTH[0, :, :, 2].astype(np.float32) + 1) * 2)


def test_files_that_are_none_are_refused(tmp_path):
  file = tmp_path / "toy.tflite"
  for content in (b"", b"TFL3", b"\0" * 100):
    file.write_bytes(content)
    with pytest.raises(ValueError, match="is not a TensorFlow Lite model"):
      read_tflite(file)
  with pytest.raises(FileNotFoundError, match="no file"):
    read_tflite(tmp_path / "nowhere.tflite")


def test_every_truncation_ends_in_one_line(file):
  content = file.read_bytes()
  for length in range(8, len(content), 7):
    file.write_bytes(content[:length])
    with pytest.raises(ValueError, match="truncated or damaged|is damaged") as found:
      read_tflite(file)
    assert "\n" not in str(found.value)


def test_flipped_bytes_end_in_one_line_or_in_a_graph(file):
  content = bytearray(file.read_bytes())
  rng = np.random.default_rng(0)
  for _ in range(300):
    place = int(rng.integers(8, len(content)))
    changed = bytearray(content)
    changed[place] ^= int(rng.integers(1, 256))
    file.write_bytes(bytes(changed))
    try:
      read_tflite(file)
    except ValueError as error:
      assert "\n" not in str(error)


def test_a_number_without_a_name_is_shown(tmp_path):
  file = tmp_path / "toy.tflite"
  file.write_bytes(toy(kinds=(6, 3, 4, 126)))
  assert [op.kind for op in read_tflite(file).ops][-1] == "BUILTIN_126"
