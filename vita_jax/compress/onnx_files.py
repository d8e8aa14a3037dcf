"""ONNX files of generators: float32, QDQ int8 with the clips of training, or explicit integer convolutions.

The graph is written from the table of layers rather than converted from a trace: each layer is the handful of
nodes that runtimes know (Pad, Conv, InstanceNormalization, Relu), so that they fuse them, and quantised
inputs carry the very steps the network was trained with, which a converter with a calibrator would replace.

    float32   Conv, ConvTranspose
    qdq       the same between QuantizeLinear and DequantizeLinear, int8 weights: what other runtimes read
    integer   MatMulInteger over shifted images, int8 weights; a transposed convolution is a sub-pixel one and
              DepthToSpace. This is integer arithmetic in onnxruntime, which computes QDQ in floats unless
              outputs are quantised as well, and whose ConvInteger is slow with int8 weights. Its products
              of uint8 and int8 are exact on ARM and on x86 with VNNI; older x86 saturates: take "qdq" there

Pictures are [n, channels, h, w] in [-1, 1], all but the channels open. Quantised inputs are uint8; signed
ones have zero point 128, and are clipped so that the level -128 does not occur.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vita_jax.base.choose import choose
from vita_jax.base.files import write_bytes
from vita_jax.compress.integer import integer_program, sub_pixel_kernel
from vita_jax.nn.layers import PICTURE, Layer, check_layers, check_parameters, output_padding
from vita_jax.nn.picture_programs import open_onnx
from vita_jax.nn.quantize import level_range

__all__ = ["KINDS", "onnx_model", "open_onnx", "write_onnx"]

KINDS = ("float32", "qdq", "integer")
OPSET, IR_VERSION = 17, 8  # of 2022: what runtimes in use read
LAST = 2**62  # an end beyond every axis
ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "leaky_relu": "LeakyRelu"}


def write_onnx(path: str | os.PathLike, generator: Any, variables: Any, *, kind: str = "float32") -> int:
  """Writes a generator as an ONNX file and returns its size in bytes; see `onnx_model`.

  Raises:
    ImportError: onnx is not installed.
    ValueError: see `onnx_model`.
  """
  data = onnx_model(generator, variables, kind=kind).SerializeToString()
  write_bytes(path, data)
  return len(data)


def onnx_model(generator: Any, variables: Any, *, kind: str = "float32") -> Any:
  """Makes the `onnx.ModelProto` of a generator: input "image", output "picture".

  Args:
    generator: a module with `layers`; with `quant` for "qdq" and "integer".
    variables: its variables.
    kind: see the module.

  Raises:
    ImportError: onnx is not installed.
    ValueError: another kind; parameters that are not the generator's; no `quant` for an int8 kind; see
      `integer_program`.
  """
  choose("kind", kind, KINDS)
  onnx = _onnx()
  if kind == "float32":
    arrays = check_parameters(check_layers(generator.layers), variables)
  else:
    _, arrays = integer_program(generator, variables)
  bits = 8 if generator.quant is None else generator.quant.activation_bits
  graph = _Graph(onnx, [], [], kind, bits)
  value = "image"
  outputs: dict[str, str] = {PICTURE: "image"}
  for layer in generator.layers:
    gate = arrays[f"{layer.gate}_scale"] if layer.gate else None
    value = _layer(graph, layer, arrays[layer.name], value, gate)
    if layer.add:
      value = graph.node("Add", [value, outputs[layer.add]], f"{layer.name}/sum")
    if layer.clipped:
      ends = [graph.array(f"{layer.name}/{k}", np.float32(x)) for k, x in (("darkest", -1), ("brightest", 1))]
      value = graph.node("Clip", [value, *ends], f"{layer.name}/within")
    outputs[layer.name] = value
  graph.nodes[-1].output[0] = "picture"
  first, last = generator.layers[0], generator.layers[-1]
  ends = [
    onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", channels, *size])
    for name, channels, size in (
      ("image", first.inputs, ("h", "w")),
      ("picture", last.features, ("out_h", "out_w")),
    )
  ]
  model = onnx.helper.make_model(
    onnx.helper.make_graph(graph.nodes, "generator", ends[:1], ends[1:], graph.arrays),
    opset_imports=[onnx.helper.make_opsetid("", OPSET)],
    ir_version=IR_VERSION,
    producer_name="vita_jax",
  )
  onnx.checker.check_model(model)
  return model


class _Graph(NamedTuple):
  """Nodes and arrays in the making; each node has one output, of its own name."""

  onnx: Any
  nodes: list[Any]
  arrays: list[Any]
  kind: str
  bits: int

  def node(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
    self.nodes.append(self.onnx.helper.make_node(op, list(inputs), [name], name=name, **attributes))
    return name

  def array(self, name: str, x: Any) -> str:
    self.arrays.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(x), name))
    return name


def _layer(graph: _Graph, layer: Layer, own: Mapping[str, Any], value: str, gate: Any) -> str:
  name = layer.name
  if layer.reflect:
    p = layer.padding
    pads = graph.array(f"{name}/pads", np.array([0, 0, p, p, 0, 0, p, p], np.int64))
    value = graph.node("Pad", [value, pads], f"{name}/padded", mode="reflect")
  if graph.kind == "float32":
    value = _convolution(
      graph, layer, value, _weights(graph, layer, np.asarray(own["kernel"], np.float32)), own
    )
  elif graph.kind == "qdq" or layer.signed is None:
    kernel = _dequantized(graph, layer, own)
    if layer.signed is not None:
      quantized = _quantized(graph, layer, value, own)
      value = graph.node("DequantizeLinear", [quantized, *_unit(layer)], f"{name}/input")
    value = _convolution(graph, layer, value, kernel, own)
  else:
    value = _integer_convolution(graph, layer, _quantized(graph, layer, value, own), own)
  if layer.norm != "none":
    scale, shift = np.ones(layer.features), np.zeros(layer.features)
    if layer.norm == "affine":
      scale, shift = np.asarray(own["scale"]), np.asarray(own["shift"])
    if gate is not None:
      scale, shift = scale * gate, shift * gate
    parts = [
      graph.array(f"{name}/{k}", x.astype(np.float32)) for k, x in (("scale", scale), ("shift", shift))
    ]
    value = graph.node("InstanceNormalization", [value, *parts], f"{name}/norm", epsilon=layer.epsilon)
  elif gate is not None:
    factor = graph.array(f"{name}/gate", np.asarray(gate, np.float32)[:, None, None])
    value = graph.node("Mul", [value, factor], f"{name}/gated")
  if layer.activation != "none":
    more = {"alpha": 0.2} if layer.activation == "leaky_relu" else {}
    value = graph.node(ACTIVATIONS[layer.activation], [value], f"{name}/{layer.activation}", **more)
  return value


def _convolution(graph: _Graph, layer: Layer, value: str, kernel: str, own: Mapping[str, Any]) -> str:
  bias = np.asarray(own["bias"], np.float32)
  options: dict[str, Any] = {"strides": [layer.stride] * 2}
  options["pads"] = [0 if layer.reflect else layer.padding] * 4
  if layer.transposed:
    options["output_padding"] = [output_padding(layer)] * 2
  op, name = "ConvTranspose" if layer.transposed else "Conv", f"{layer.name}/convolution"
  if graph.kind == "float32" or layer.norm != "none":
    return graph.node(op, [value, kernel, graph.array(f"{layer.name}/bias", bias)], name, **options)
  # Apart: onnxruntime rounds the bias of a convolution between quantised values to multiples of its step.
  value = graph.node(op, [value, kernel], f"{layer.name}/products", **options)
  return graph.node("Add", [value, graph.array(f"{layer.name}/bias", bias[:, None, None])], name)


def _weights(graph: _Graph, layer: Layer, kernel: np.ndarray) -> str:
  """[k, k, in, out] -> [out, in, k, k], of a transposed convolution [in, out, k, k]."""
  order = (2, 3, 0, 1) if layer.transposed else (3, 2, 0, 1)
  return graph.array(f"{layer.name}/kernel", kernel.transpose(order))


def _dequantized(graph: _Graph, layer: Layer, own: Mapping[str, Any]) -> str:
  kernel, step = own["kernel"], np.asarray(_weight_step(own, layer, graph.bits), np.float32)
  inputs = [
    _weights(graph, layer, kernel),
    graph.array(f"{layer.name}/kernel_step", step),
    graph.array(f"{layer.name}/kernel_zero", np.zeros(step.shape, np.int8)),
  ]
  axis = {"axis": 1 if layer.transposed else 0} if step.ndim else {}
  return graph.node("DequantizeLinear", inputs, f"{layer.name}/weights", **axis)


def _unit(layer: Layer) -> tuple[str, str]:
  return f"{layer.name}/step", f"{layer.name}/zero"


def _input_step(own: Mapping[str, Any], layer: Layer, bits: int) -> np.float32:
  _, most = level_range(bits=bits, signed=bool(layer.signed))
  return np.float32(own["clip"] * np.float32(1 / most))


def _weight_step(own: Mapping[str, Any], layer: Layer, bits: int) -> np.ndarray:
  return own["step"] if layer.signed is None else own["step"] / _input_step(own, layer, bits)


def _quantized(graph: _Graph, layer: Layer, value: str, own: Mapping[str, Any]) -> str:
  """Clips and quantises the input to uint8."""
  clip = np.float32(own["clip"])
  # uint8 saturates at the clip by itself, where its 256 levels are all in use.
  if layer.signed or graph.bits < 8:
    ends = [
      graph.array(f"{layer.name}/{k}", np.float32(x))
      for k, x in (("least", -clip if layer.signed else 0), ("most", clip))
    ]
    value = graph.node("Clip", [value, *ends], f"{layer.name}/clipped")
  step, zero = _unit(layer)
  graph.array(step, _input_step(own, layer, graph.bits))
  graph.array(zero, np.uint8(128 if layer.signed else 0))
  return graph.node("QuantizeLinear", [value, step, zero], f"{layer.name}/levels")


def _integer_convolution(graph: _Graph, layer: Layer, levels: str, own: Mapping[str, Any]) -> str:
  """Convolves uint8 levels by int8 weights with sums in int32, as a product over shifted images."""
  name, kernel, stride = layer.name, np.asarray(own["kernel"]), layer.stride
  before = after = 0 if layer.reflect else layer.padding
  if layer.transposed:
    kernel, before, after = sub_pixel_kernel(layer, kernel)
    stride = 1
  if before or after:
    pads = graph.array(f"{name}/zeros", np.array([0, 0, before, before, 0, 0, after, after], np.int64))
    levels = graph.node("Pad", [levels, pads, _unit(layer)[1]], f"{name}/surrounded")
  value = graph.node("Transpose", [levels], f"{name}/channels_last", perm=[0, 2, 3, 1])
  k, _, inputs, outputs = kernel.shape
  if stride == 1 and k > 2:
    # The taps of a row are multiplied together and the rows added up: a third of the copies, or less.
    columns = _shifts(graph, name, value, k, 1, (2,))
    value = _product(graph, layer, columns, kernel.transpose(1, 2, 0, 3).reshape(k * inputs, -1))
    rows = [_cropped(graph, name, value, k, row, row * outputs, outputs) for row in range(k)]
    value = rows[0]
    for row, more in enumerate(rows[1:], 1):
      value = graph.node("Add", [value, more], f"{name}/rows_{row}")
  else:
    places = _shifts(graph, name, value, k, stride, (1, 2))
    value = _product(graph, layer, places, kernel.reshape(k * k * inputs, -1))
  value = graph.node("Cast", [value], f"{name}/float", to=graph.onnx.TensorProto.FLOAT)
  value = graph.node("Transpose", [value], f"{name}/channels_first", perm=[0, 3, 1, 2])
  if layer.transposed:
    value = graph.node("DepthToSpace", [value], f"{name}/places", blocksize=layer.stride, mode="DCR")
  step = np.asarray(own["step"], np.float32)
  product = graph.array(f"{name}/product_step", step[:, None, None] if step.ndim else step)
  bias = graph.array(f"{name}/bias", np.asarray(own["bias"], np.float32)[:, None, None])
  value = graph.node("Mul", [value, product], f"{name}/scaled")
  return graph.node("Add", [value, bias], f"{name}/convolution")


def _product(graph: _Graph, layer: Layer, levels: str, matrix: np.ndarray) -> str:
  inputs = [levels, graph.array(f"{layer.name}/kernel", matrix), _unit(layer)[1]]
  return graph.node("MatMulInteger", inputs, f"{layer.name}/products")


def _shifts(graph: _Graph, name: str, value: str, k: int, stride: int, axes: tuple[int, ...]) -> str:
  """Concatenates the images [n, h, w, c] shifted by every tap on the axes, the last axis fastest."""
  shifted = []
  for tap in np.ndindex((k,) * len(axes)):
    place = f"{name}/tap_{'_'.join(map(str, tap))}"
    ends = [i - k + 1 or LAST for i in tap]  # negative: counted from the end, as sizes are open
    shifted.append(_slice(graph, place, value, list(tap), ends, list(axes), [stride] * len(axes)))
  return graph.node("Concat", shifted, f"{name}/taps", axis=3)


def _cropped(graph: _Graph, name: str, value: str, k: int, row: int, first: int, count: int) -> str:
  ends = [row - k + 1 or LAST, first + count]
  return _slice(graph, f"{name}/row_{row}", value, [row, first], ends, [1, 3], [1, 1])


def _slice(graph: _Graph, name: str, value: str, *ranges: list[int]) -> str:
  """Cuts [starts, ends) on the axes, in steps."""
  parts = [graph.array(f"{name}/{i}", np.array(x, np.int64)) for i, x in enumerate(ranges)]
  return graph.node("Slice", [value, *parts], name)


def _onnx() -> Any:
  try:
    import onnx
    import onnx.numpy_helper
  except ImportError as error:
    raise ImportError("ONNX files need the package onnx: pip install 'vita_jax[onnx]'") from error
  return onnx
