"""TensorFlow.js graph models: a toy one written by hand, and what is damaged or foreign."""

import base64
import json

import numpy as np
import pytest

from vita_jax.data.files_tfjs import read_tfjs
from vita_jax.data.op_graph import convolutions

KERNEL = np.arange(1 * 1 * 2 * 3, dtype=np.float32).reshape(1, 1, 2, 3) / 4
BIAS = np.array([0.5, -1.0, 2.0], np.float32)
DEPTH = np.arange(9 * 3, dtype=np.float32).reshape(3, 3, 3, 1)


SHAPE = {"shape": {"dim": [{"size": "1"}, {"size": "-1"}]}}
FEW = {"dtype": "uint8", "scale": 0.5, "min": -1.0}


def _text(value):
  return {"s": base64.b64encode(value.encode()).decode()}


def _nodes(*inputs):
  """A model of additions q, r, ... with these inputs."""
  nodes = [{"name": name, "op": "Add", "input": [one]} for name, one in zip("qr", inputs, strict=False)]
  return {"modelTopology": {"node": nodes}}


def _model(**changes):
  """The JSON: a convolution whose bias is added next, a fused depthwise one, and two outputs of a split."""
  nodes = [
    {"name": "split", "op": "SplitV", "input": ["deep", "sizes", "^x"], "attr": {"num_split": {"i": "2"}}},
    {
      "name": "x",
      "op": "Placeholder",
      "attr": {"shape": {"shape": {"dim": [{"size": "1"}, {"size": "-1"}]}}},
    },
    {"name": "k", "op": "Const"},
    {"name": "b", "op": "Const"},
    {"name": "d", "op": "Const"},
    {"name": "sizes", "op": "Const"},
    {
      "name": "conv",
      "op": "Conv2D",
      "input": ["x", "k"],
      "attr": {"strides": {"list": {"i": ["1", "2", "2", "1"]}}, "padding": _text("SAME"), "e": {"f": 0.5}},
    },
    {"name": "sum", "op": "Add", "input": ["conv:0", "b"]},
    {
      "name": "deep",
      "op": "FusedDepthwiseConv2dNative",
      "input": ["sum", "d", "b"],
      "attr": {
        "fused_ops": {"list": {"s": [_text("BiasAdd")["s"], _text("Relu6")["s"]]}},
        "t": {"type": "DT_FLOAT"},
      },
    },
    {"name": "out", "op": "Mul", "input": ["split:1", "split"], "attr": {"yes": {"b": True}}},
  ]
  weights = [
    {"name": "k", "shape": [1, 1, 2, 3], "dtype": "float32", "quantization": {"dtype": "float16"}},
    {"name": "b", "shape": [3], "dtype": "float32"},
    {"name": "d", "shape": [3, 3, 3, 1], "dtype": "float32", "quantization": FEW},
    {"name": "sizes", "shape": [2], "dtype": "int32"},
  ]
  model = {
    "format": "graph-model",
    "modelTopology": {"node": nodes},
    "weightsManifest": [{"paths": ["a.bin", "b.bin"], "weights": weights}],
    "signature": {"outputs": {"y": {"name": "out:0"}}},
  }
  return {**model, **changes}


def text():
  """The JSON as bytes."""
  return json.dumps(_model()).encode()


def parts():
  """Name -> the content of a .bin file; a tensor crosses their border."""
  return {"a.bin": _content()[:15], "b.bin": _content()[15:]}


def _content():
  stored = (KERNEL.astype("<f2"), BIAS, ((DEPTH + 1.0) / 0.5).astype(np.uint8), np.array([1, 2], "<i4"))
  return b"".join(x.tobytes() for x in stored)


@pytest.fixture
def file(tmp_path):
  for name, content in {"toy.json": text(), **parts()}.items():
    (tmp_path / name).write_bytes(content)
  return tmp_path / "toy.json"


def test_constants_and_operations_come_back(file):
  graph = read_tfjs(file)
  np.testing.assert_array_equal(graph.tensors["k"], KERNEL)
  np.testing.assert_array_equal(graph.tensors["b"], BIAS)
  np.testing.assert_array_equal(graph.tensors["d"], DEPTH)
  assert graph.tensors["sizes"].tolist() == [1, 2] and graph.tensors["k"].dtype == np.float32
  assert graph.inputs == ("x",) and graph.outputs == ("out",)
  assert [op.name for op in graph.ops] == ["conv", "sum", "deep", "split", "out"]
  named = {op.name: op for op in graph.ops}
  assert named["conv"].attributes == {"strides": (1, 2, 2, 1), "padding": "SAME", "e": 0.5}
  assert named["deep"].attributes == {"fused_ops": ("BiasAdd", "Relu6"), "t": "DT_FLOAT"}
  assert named["split"].inputs == ("deep", "sizes") and named["split"].outputs == ("split", "split:1")
  assert named["sum"].inputs == ("conv", "b") and named["out"].attributes == {"yes": True}


def test_convolutions_have_their_biases(file):
  plain, deep = convolutions(read_tfjs(file))
  assert (plain.name, plain.depthwise, deep.name, deep.depthwise) == ("conv", False, "deep", True)
  np.testing.assert_array_equal(plain.bias, BIAS)
  np.testing.assert_array_equal(deep.bias, BIAS)
  np.testing.assert_array_equal(deep.kernel, DEPTH.reshape(3, 3, 1, 3))


def _refused(file, message, error=ValueError):
  with pytest.raises(error, match=message) as found:
    read_tfjs(file)
  assert "\n" not in str(found.value)


def test_damaged_files_are_refused_in_one_line(file):
  (file.parent / "b.bin").write_bytes(_content()[15:-1])
  _refused(file, "a.bin, b.bin ends within 'sizes': damaged or of another model")
  (file.parent / "b.bin").write_bytes(_content()[15:] + b"\0")
  _refused(file, "has 60 bytes for 59: damaged or of another model")
  (file.parent / "b.bin").unlink()
  _refused(file, "no file .*b.bin", FileNotFoundError)
  file.write_text("{")
  _refused(file, "is not a TensorFlow.js graph model")
  file.unlink()
  _refused(file, "no file", FileNotFoundError)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"format": "layers-model"}, "is a TensorFlow.js layers-model: only graph models are read"),
    ({"modelTopology": {}}, r"is not a TensorFlow.js graph model \(KeyError"),
    ({"weightsManifest": [{"paths": 3}]}, r"is not a TensorFlow.js graph model \(TypeError"),
    ({"modelTopology": {"node": [{"name": "q", "op": "Const"}]}}, "has no weights of the constant 'q'"),
    (_nodes("z"), "q reads 'z', which nothing makes"),
    (_nodes("r", "q"), "which depends on itself"),
  ],
)
def test_other_models_are_refused_in_one_line(file, changes, message):
  file.write_text(json.dumps(_model(**changes)))
  _refused(file, message)


def test_an_unknown_dtype_is_named(file):
  model = _model()
  model["weightsManifest"][0]["weights"][1]["dtype"] = "complex64"
  file.write_text(json.dumps(model))
  _refused(file, "weight 'b' is complex64, which is not read")
