"""TensorFlow Lite models (.tflite) as constants and operations, without TensorFlow.

A model is a FlatBuffer: tables whose fields are found through a small index, so that a few functions read all
of it. Field numbers are those of the public schema (tensorflow/lite/schema/schema.fbs).
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vita_jax.data.files import cause, existing
from vita_jax.data.op_graph import Op, OpGraph, Refused, in_order

# By number, as the schema counts them.
KINDS = (
  "ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE "
  "EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D "
  "LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 "
  "RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM "
  "EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND "
  "TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN "
  "EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM ARG_MAX "
  "MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV "
  "SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT "
  "REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV "
  "REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU "
  "SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU "
  "REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE"
).split()
CUSTOM = KINDS.index("CUSTOM")
DTYPES = {
  0: "<f4", 1: "<f2", 2: "<i4", 3: "u1", 4: "<i8", 6: "?", 7: "<i2", 8: "<c8", 9: "i1", 10: "<f8",
}  # fmt: skip
PADDINGS = ("SAME", "VALID")
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")

_PLACE = (("padding", "padding"), ("stride_w", "i"), ("stride_h", "i"))
_FUSED = (("activation", "activation"),)
_HOLES = (("dilation_w", "one"), ("dilation_h", "one"))
_POOL = (*_PLACE, ("filter_w", "i"), ("filter_h", "i"), *_FUSED)
_KEEP = (("keep_dims", "?"),)
# Kind -> its options in the order of their fields: name, and how it is read. Other kinds have theirs unread.
OPTIONS: Mapping[str, tuple[tuple[str, str], ...]] = {
  "ADD": _FUSED,
  "AVERAGE_POOL_2D": _POOL,
  "CONCATENATION": (("axis", "i"), *_FUSED),
  "CONV_2D": (*_PLACE, *_FUSED, *_HOLES),
  "DEPTHWISE_CONV_2D": (*_PLACE, ("depth_multiplier", "i"), *_FUSED, *_HOLES),
  "DEPTH_TO_SPACE": (("block_size", "i"),),
  "DIV": _FUSED,
  "FULLY_CONNECTED": _FUSED,
  "LEAKY_RELU": (("alpha", "f"),),
  "MAX_POOL_2D": _POOL,
  "MEAN": _KEEP,
  "MUL": _FUSED,
  "PACK": (("values_count", "i"), ("axis", "i")),
  "REDUCE_MAX": _KEEP,
  "RESHAPE": (("new_shape", "ints"),),
  "RESIZE_BILINEAR": (("", ""), ("", ""), ("align_corners", "?"), ("half_pixel_centers", "?")),
  "RESIZE_NEAREST_NEIGHBOR": (("align_corners", "?"), ("half_pixel_centers", "?")),
  "SOFTMAX": (("beta", "f"),),
  "SPLIT": (("num_splits", "i"),),
  "SQUEEZE": (("squeeze_dims", "ints"),),
  "STRIDED_SLICE": tuple(
    (f"{name}_mask", "i") for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
  ),
  "SUB": _FUSED,
  "SUM": _KEEP,
  "TRANSPOSE_CONV": (*_PLACE, *_FUSED),
}


class Tensor(NamedTuple):
  """A tensor as the file declares it; `constant` is None where an operation makes it."""

  name: str
  shape: tuple[int, ...]
  constant: np.ndarray | None
  scale: np.ndarray
  zero_point: np.ndarray
  axis: int


def read_tflite(path: str | os.PathLike) -> OpGraph:
  """Reads the first graph of a model: constants by name, operations in order.

  A constant that the file dequantizes before use (float16 weights, int8 weights with scales) is a float32
  constant here, and the operation is left out. Names that occur twice, or are empty, get `#NUMBER`. An
  operation's attributes are those of `OPTIONS`; {"unread": True} where it has options that are not there.

  Raises:
    FileNotFoundError: no such file.
    ValueError: not a .tflite file, one with tensors of a dtype that is not read, or a damaged one.
  """
  path = existing(path)
  content = path.read_bytes()
  if content[4:8] != b"TFL3":
    raise ValueError(f"{path} is not a TensorFlow Lite model; fetch it again or give another file")
  try:
    return _graph(str(path), content)
  except Refused:
    raise
  except Exception as error:  # numbers that point anywhere
    raise ValueError(f"{path} is truncated or damaged ({cause(error)}); fetch it again") from error


def _graph(source: str, content: bytes) -> OpGraph:
  model = _root(content)
  codes = [_kind(content, code) for code in _tables(content, model, 1)]
  buffers = _tables(content, model, 4)
  graph = _tables(content, model, 2)[0]
  tensors = _named([_tensor(source, content, table, buffers) for table in _tables(content, graph, 0)])
  constants = {tensor.name: tensor.constant for tensor in tensors if tensor.constant is not None}
  ops = []
  for table in _tables(content, graph, 3):
    kind = codes[_number(content, table, 0, "I", 0)]
    inputs = [tensors[i] if i >= 0 else None for i in _ints(content, table, 1)]
    outputs = [tensors[i].name for i in _ints(content, table, 2)]
    if kind == "DEQUANTIZE" and inputs[0] is not None and inputs[0].constant is not None:
      constants[outputs[0]] = _dequantized(inputs[0])
      continue
    named = tuple(one.name if one else "" for one in inputs)
    ops.append(Op(kind, outputs[0], named, tuple(outputs), _attributes(content, table, kind)))
  given, made = (tuple(tensors[i].name for i in _ints(content, graph, field)) for field in (1, 2))
  return OpGraph(source, constants, in_order(ops, [*constants, *given], source), given, made)


def _kind(content: bytes, table: int) -> str:
  number = max(_number(content, table, 0, "b", 0), _number(content, table, 3, "i", 0))
  if number == CUSTOM:
    return _text(content, table, 1)
  return KINDS[number] if number < len(KINDS) else f"BUILTIN_{number}"


def _tensor(source: str, content: bytes, table: int, buffers: list[int]) -> Tensor:
  name, shape = _text(content, table, 3), tuple(_ints(content, table, 0))
  start, length = _vector(content, buffers[_number(content, table, 2, "I", 0)], 0, 1)
  constant = None
  if length:
    number = _number(content, table, 1, "b", 0)
    if number not in DTYPES:
      raise Refused(f"{source}: constant {name!r} is of the type number {number}, which is not read")
    dtype = np.dtype(DTYPES[number])
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != length:
      raise Refused(f"{source} is damaged: {name!r} is {shape} {dtype} in {length} bytes; fetch it again")
    constant = np.frombuffer(content, dtype, math.prod(shape), start).reshape(shape)
  scale, zero_point, axis = np.ones(0, np.float32), np.zeros(0, np.int64), 0
  if quantization := _table(content, table, 4):
    scale = _array(content, quantization, 2, "<f4")
    zero_point = _array(content, quantization, 3, "<i8")
    axis = _number(content, quantization, 6, "i", 0)
  return Tensor(name, shape, constant, scale, zero_point, axis)


def _named(tensors: list[Tensor]) -> list[Tensor]:
  """The same with a name of its own each."""
  seen: set[str] = set()
  found = []
  for i, tensor in enumerate(tensors):
    name = tensor.name if tensor.name and tensor.name not in seen else f"{tensor.name}#{i}"
    seen.add(name)
    found.append(tensor._replace(name=name))
  return found


def _dequantized(tensor: Tensor) -> np.ndarray:
  """(value - zero point) * scale, of each channel along the axis where there are several scales."""
  x = np.asarray(tensor.constant)
  if x.dtype == np.float16 or not tensor.scale.size:
    return x.astype(np.float32)
  along = [1] * x.ndim
  along[tensor.axis] = -1
  shape = along if tensor.scale.size > 1 else ()
  zero = (tensor.zero_point if tensor.zero_point.size else np.zeros_like(tensor.scale)).reshape(shape)
  return ((x.astype(np.float64) - zero) * tensor.scale.reshape(shape)).astype(np.float32)


def _attributes(content: bytes, operator: int, kind: str) -> dict[str, Any]:
  options = _table(content, operator, 4)
  if not options:
    return {}
  if kind not in OPTIONS:
    return {"unread": True}
  found: dict[str, Any] = {}
  for field, (name, how) in enumerate(OPTIONS[kind]):
    match how:
      case "":
        continue
      case "padding":
        found[name] = PADDINGS[_number(content, options, field, "b", 0)]
      case "activation":
        found[name] = ACTIVATIONS[_number(content, options, field, "b", 0)]
      case "ints":
        found[name] = tuple(_ints(content, options, field))
      case "one":
        found[name] = _number(content, options, field, "i", 1)
      case _:
        found[name] = _number(content, options, field, how, 0)
  return found


# A FlatBuffer: a table begins with the distance back to its index, which holds the place of each field in the
# table, 0 for a default. Tables, vectors and texts are reached by a distance forward.


def _root(content: bytes) -> int:
  return struct.unpack_from("<I", content, 0)[0]


def _place(content: bytes, table: int, field: int) -> int:
  """Where a field of a table is, 0 where it has its default."""
  index = table - struct.unpack_from("<i", content, table)[0]
  if index < 0:
    raise IndexError("a table points in front of the file")
  at = 4 + 2 * field
  if at >= struct.unpack_from("<H", content, index)[0]:
    return 0
  offset = struct.unpack_from("<H", content, index + at)[0]
  return table + offset if offset else 0


def _number(content: bytes, table: int, field: int, kind: str, default: Any) -> Any:
  place = _place(content, table, field)
  return struct.unpack_from("<" + kind, content, place)[0] if place else default


def _table(content: bytes, table: int, field: int) -> int:
  """Where the table that a field points to is, 0 where there is none."""
  place = _place(content, table, field)
  return place + struct.unpack_from("<I", content, place)[0] if place else 0


def _vector(content: bytes, table: int, field: int, width: int) -> tuple[int, int]:
  """(where the elements begin, how many there are), for elements of `width` bytes."""
  start = _table(content, table, field)
  if not start:
    return 0, 0
  length = struct.unpack_from("<I", content, start)[0]
  if start + 4 + length * width > len(content):
    raise IndexError(f"a list of {length} reaches past the end of the file")
  return start + 4, length


def _array(content: bytes, table: int, field: int, dtype: str) -> np.ndarray:
  start, length = _vector(content, table, field, np.dtype(dtype).itemsize)
  return np.frombuffer(content, dtype, length, start)


def _ints(content: bytes, table: int, field: int) -> list[int]:
  return _array(content, table, field, "<i4").tolist()


def _tables(content: bytes, table: int, field: int) -> list[int]:
  start, length = _vector(content, table, field, 4)
  places = range(start, start + 4 * length, 4)
  return [place + struct.unpack_from("<I", content, place)[0] for place in places]


def _text(content: bytes, table: int, field: int) -> str:
  start, length = _vector(content, table, field, 1)
  return content[start : start + length].decode()
