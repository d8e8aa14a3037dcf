"""TensorFlow.js graph models (a .json and its .bin files) as constants and operations, without TensorFlow."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vita_jax.base.files import read_json
from vita_jax.data.files import cause, existing
from vita_jax.data.op_graph import Op, OpGraph, Refused, in_order

DTYPES = {"float32": "<f4", "int32": "<i4", "bool": "?"}
STORED = {"float16": "<f2", "uint8": "u1", "uint16": "<u2"}  # of quantized weights


def read_tfjs(path: str | os.PathLike) -> OpGraph:
  """Reads a graph model: weights by name, operations in order.

  Quantized weights (float16; uint8 and uint16 with scale and least value) come back as float32. Of an
  operation's inputs `a` is output 0 of node a and `a:1` its output 1, as in the file; control inputs are left
  out. The .bin files are looked for beside the .json.

  Args:
    path: the .json file.

  Raises:
    FileNotFoundError: no such file, or one of its .bin files is missing.
    ValueError: not a graph model, one with weights of a dtype that is not read, or a damaged one.
  """
  path = existing(path)
  model = read_json(path, what="a TensorFlow.js graph model")
  if model.get("format", "graph-model") != "graph-model":
    raise ValueError(f"{path} is a TensorFlow.js {model['format']}: only graph models are read")
  try:
    nodes = model["modelTopology"]["node"]
    tensors = _tensors(path, model["weightsManifest"])
    return _graph(path, nodes, tensors, model.get("signature") or {})
  except (Refused, FileNotFoundError):
    raise
  except Exception as error:  # whatever Python says of an object of another shape
    raise ValueError(
      f"{path} is not a TensorFlow.js graph model ({type(error).__name__}: {cause(error)}); fetch it again"
    ) from error


def _tensors(path: Path, manifest: list[Mapping[str, Any]]) -> dict[str, np.ndarray]:
  tensors = {}
  for group in manifest:
    content = b"".join(existing(path.parent / name).read_bytes() for name in group["paths"])
    files, at = ", ".join(group["paths"]), 0
    for weight in group["weights"]:
      name, shape = weight["name"], tuple(int(n) for n in weight["shape"])
      quantized = weight.get("quantization")
      stored = STORED.get(quantized["dtype"]) if quantized else DTYPES.get(weight["dtype"])
      if stored is None:
        kind = quantized["dtype"] if quantized else weight["dtype"]
        raise Refused(f"{path}: weight {name!r} is {kind}, which is not read")
      dtype, count = np.dtype(stored), math.prod(shape)
      if min(shape, default=0) < 0 or at + count * dtype.itemsize > len(content):
        raise Refused(f"{path}: {files} ends within {name!r}: damaged or of another model; fetch it again")
      found = np.frombuffer(content, dtype, count, at).reshape(shape)
      at += count * dtype.itemsize
      tensors[name] = _plain(found, quantized)
    if at != len(content):
      raise Refused(
        f"{path}: {files} has {len(content)} bytes for {at}: damaged or of another model; fetch it again"
      )
  return tensors


def _plain(found: np.ndarray, quantized: Mapping[str, Any] | None) -> np.ndarray:
  if not quantized:
    return found.astype(found.dtype.newbyteorder("="))
  x = found.astype(np.float32)
  if quantized["dtype"] != "float16":
    x = x * np.float32(quantized["scale"]) + np.float32(quantized["min"])
  return x


def _graph(
  path: Path, nodes: list[Mapping[str, Any]], tensors: dict[str, np.ndarray], signature: Mapping[str, Any]
) -> OpGraph:
  read = {_tensor(name) for node in nodes for name in node.get("input", ()) if not name.startswith("^")}
  inputs, ops = [], []
  for node in nodes:
    name = node["name"]
    if node["op"] == "Const":
      if name not in tensors:
        raise Refused(f"{path} is damaged: it has no weights of the constant {name!r}; fetch it again")
    elif node["op"] == "Placeholder":
      inputs.append(name)
    else:
      made = sorted((one for one in read if one.rpartition(":")[0] == name), key=_number)
      ops.append(
        Op(
          kind=node["op"],
          name=name,
          inputs=tuple(_tensor(one) for one in node.get("input", ()) if not one.startswith("^")),
          outputs=(name, *made),
          attributes={key: _value(value) for key, value in node.get("attr", {}).items()},
        )
      )
  named = [_tensor(found["name"]) for found in signature.get("outputs", {}).values()]
  last = [op.name for op in ops if not set(op.outputs) & read]
  ordered = in_order(ops, [*tensors, *inputs], str(path))
  return OpGraph(str(path), tensors, ordered, tuple(inputs), tuple(sorted(named or last)))


def _tensor(name: str) -> str:
  return name.removesuffix(":0")


def _number(name: str) -> int:
  return int(name.rpartition(":")[2])


def _value(attribute: Mapping[str, Any]) -> Any:
  """A plain value of an attribute: text, number, truth value, dtype name, shape, or a tuple of such."""
  kind, value = next(iter(attribute.items()), ("", None)) if len(attribute) == 1 else ("", None)
  return _plain_value(kind, value)


def _plain_value(kind: str, value: Any) -> Any:
  match kind:
    case "s":
      return _text(value)
    case "i":
      return int(value)
    case "f":
      return float(value)
    case "shape":
      return tuple(int(dim.get("size", -1)) for dim in value.get("dim", ()))
    case "list":
      return tuple(_plain_value(key, one) for key, many in value.items() for one in many)
    case _:
      return value


def _text(value: Any) -> str:
  content = base64.b64decode(value) if isinstance(value, str) else bytes(value)
  return content.decode("utf-8", "replace")
