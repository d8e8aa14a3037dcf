"""ONNX files of derived networks: float32, batch norms folded into the convolutions before them.

The graph is written from the architecture rather than converted from a trace: Conv, Relu, Add, MaxPool,
AveragePool, BatchNormalization (after pooling), Concat and Resize, which every runtime knows and fuses.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vita_jax.base.files import write_bytes
from vita_jax.nn.resnet import DEVIATION, MEAN
from vita_jax.search.branches.derived import Derived
from vita_jax.search.branches.pieces import OUT
from vita_jax.search.mixture import node_edges
from vita_jax.search.operations import DEPTHWISE_SEPARABLE

Tree = Mapping[str, Any]
OPSET, IR_VERSION = 17, 8  # of 2022: what runtimes in use read
EPSILON = 1e-5


class _Graph(NamedTuple):
  """Nodes and arrays in the making; each node has one output, of its own name. All names are numbered."""

  onnx: Any
  nodes: list[Any]
  arrays: list[Any]

  def node(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
    name = f"{op.lower()}_{len(self.nodes)}"
    self.nodes.append(self.onnx.helper.make_node(op, list(inputs), [name], name=name, **attributes))
    return name

  def array(self, x: Any) -> str:
    name = f"array_{len(self.arrays)}"
    self.arrays.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(x), name))
    return name


def write_onnx(path: str | os.PathLike, net: Derived, params: Tree, stats: Tree) -> int:
  """Writes a derived network as an ONNX file and returns its size in bytes; see `onnx_model`.

  Raises:
    ImportError: onnx is not installed.
  """
  data = onnx_model(net, params, stats).SerializeToString()
  write_bytes(path, data)
  return len(data)


def onnx_model(net: Derived, params: Tree, stats: Tree) -> Any:
  """Makes the `onnx.ModelProto` of a derived network by its running statistics.

  Input "image" float32 [n, 3, height, width], RGB in [0, 1], normalised inside; output "maps" float32
  [n, outputs, h, w].

  Raises:
    ImportError: onnx is not installed.
  """
  try:
    import onnx
    import onnx.numpy_helper
  except ImportError as error:
    raise ImportError("ONNX files need the package onnx: pip install 'vita_jax[onnx]'") from error
  graph, shape = _Graph(onnx, [], []), net.shape
  value = graph.node("Sub", ["image", graph.array(np.asarray(MEAN, np.float32)[:, None, None])])
  value = graph.node("Div", [value, graph.array(np.asarray(DEVIATION, np.float32)[:, None, None])])
  pieces = _Pieces(graph, net, params, stats)
  strides = (2, shape.stride // 2, 1)
  for i, stride in enumerate(strides):
    value = pieces.layer(value, "stem", i, stride=stride)
  ys = {0: value}
  for stage, counts in enumerate(net.cells):
    entered = {b: pieces.enter(stage, b, ys) for b, count in enumerate(counts) if count}
    for b, count in enumerate(counts):
      for number in range(count):
        entered[b] = pieces.cell(f"stage_{stage}_branch_{b}_cell_{number}", b, entered[b])
    ys = entered
  value = ys[0]
  for b in net.head:
    value = graph.node("Add", [value, pieces.sent(f"last_from_{b}", b, 0, ys[b])])
  value = graph.node("Relu", [value])
  own = params["head"]["conv"]
  pieces.convolution(value, own["kernel"], np.asarray(own["bias"]))
  graph.nodes[-1].output[0] = "maps"
  ends = [
    onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", channels, *size])
    for name, channels, size in (("image", 3, shape.size), ("maps", shape.outputs, shape.maps))
  ]
  model = onnx.helper.make_model(
    onnx.helper.make_graph(graph.nodes, "derived", ends[:1], ends[1:], graph.arrays),
    opset_imports=[onnx.helper.make_opsetid("", OPSET)],
    ir_version=IR_VERSION,
    producer_name="vita_jax",
  )
  onnx.checker.check_model(model)
  return model


class _Pieces(NamedTuple):
  """Writes the pieces of a derived network; each method returns the name of its output."""

  graph: _Graph
  net: Derived
  params: Tree
  stats: Tree

  def convolution(
    self, x: str, kernel: Any, bias: np.ndarray, *, stride: int = 1, rate: int = 1, groups: int = 1
  ) -> str:
    kernel = np.asarray(kernel, np.float32).transpose(3, 2, 0, 1)
    pad = rate * (kernel.shape[-1] // 2)
    inputs = [x, self.graph.array(kernel), self.graph.array(np.asarray(bias, np.float32))]
    options = {"strides": [stride] * 2, "pads": [pad] * 4, "dilations": [rate] * 2, "group": groups}
    return self.graph.node("Conv", inputs, **options)

  def normed(self, x: str, kernel: Any, params: Tree, stats: Tree, *, stride: int = 1) -> str:
    """A convolution with the norm behind it."""
    factor = np.asarray(params["scale"]) / np.sqrt(np.asarray(stats["var"]) + EPSILON)
    bias = np.asarray(params["bias"]) - np.asarray(stats["mean"]) * factor
    return self.convolution(x, np.asarray(kernel) * factor, bias, stride=stride)

  def layer(self, x: str, name: str, number: int | None, *, stride: int = 1, relu: bool = True) -> str:
    own, kept = self.params[name], self.stats[name]
    if number is not None:
      own, kept = own[f"Layer_{number}"], kept[f"Layer_{number}"]
    x = self.normed(x, own["Conv_0"]["kernel"], own["Norm_0"], kept["Norm_0"], stride=stride)
    return self.graph.node("Relu", [x]) if relu else x

  def sent(self, name: str, source: int, to: int, x: str) -> str:
    if source > to:
      x = self.layer(x, name, 0, relu=False)
      factor = 2 ** (source - to)
      scales = self.graph.array(np.array([1, 1, factor, factor], np.float32))
      options = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
      }
      return self.graph.node("Resize", [x, "", scales], **options)
    for step in range(source, to):
      x = self.layer(x, name, step - source, stride=2, relu=step < to - 1)
    return x

  def enter(self, stage: int, to: int, ys: Mapping[int, str]) -> str:
    parts = [ys[to]] if (stage, to) in self.net.kept else []
    for source in sorted(source for s, b, source in self.net.edges if (s, b) == (stage, to)):
      parts.append(self.sent(f"stage_{stage}_from_{source}_to_{to}", source, to, ys[source]))
    return self.graph.node("Relu", [self.total(parts)])

  def total(self, parts: Sequence[str]) -> str:
    value = parts[0]
    for other in parts[1:]:
      value = self.graph.node("Add", [value, other])
    return value

  def cell(self, name: str, branch: int, x: str) -> str:
    if not self.net.operations:
      y = self.layer(self.graph.node("Relu", [x]), f"{name}_{OUT}", 0)
      return self.graph.node("Add", [x, self.layer(y, f"{name}_{OUT}", 1, relu=False)])
    states = [x]
    for start, end in node_edges(len(self.net.operations[branch])):
      kinds = [(i, self.net.operations[branch][i]) for i in range(start, end)]
      parts = [self.edge(name, i, kind, states[i - start]) for i, kind in kinds if kind != "zero"]
      states.append(self.total(parts) if parts else self.graph.node("Sub", [x, x]))
    y = self.graph.node("Concat", states[1:], axis=1)
    return self.graph.node("Add", [x, self.layer(y, f"{name}_{OUT}", None, relu=False)])

  def edge(self, name: str, number: int, kind: str, x: str) -> str:
    if kind == "skip":
      return x
    place = f"{name}_edge_{number}_{kind}"
    own, kept = self.params[place], self.stats[place]
    if kind.endswith("_pool"):
      options: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1] * 4}
      op = "MaxPool" if kind == "max_pool" else "AveragePool"  # places outside do not count in either
      x = self.graph.node(op, [x], **options)
      arrays = [own["Norm_0"]["scale"], own["Norm_0"]["bias"], kept["Norm_0"]["mean"], kept["Norm_0"]["var"]]
      names = [self.graph.array(np.asarray(a, np.float32)) for a in arrays]
      return self.graph.node("BatchNormalization", [x, *names], epsilon=EPSILON)
    if kind == "conv_3":
      x = self.graph.node("Relu", [x])
      return self.normed(x, own["Conv_0"]["kernel"], own["Norm_0"], kept["Norm_0"])
    _, rate, times = DEPTHWISE_SEPARABLE[kind]
    for i in range(times):
      x = self.graph.node("Relu", [x])
      kernel = np.asarray(own[f"Depthwise_{i}"]["kernel"])
      width = kernel.shape[-1]
      x = self.convolution(x, kernel, np.zeros(width), rate=rate, groups=width)
      x = self.normed(x, own[f"Conv_{i}"]["kernel"], own[f"Norm_{i}"], kept[f"Norm_{i}"])
    return x
