"""A network as a file of another framework holds it: constants by name, and the operations in order.

`files_tfjs.py` and `files_tflite.py` read such files; nothing here runs them. A module of ours takes its
weights from them by name or, where names say nothing, by the order of the convolutions:

  graph = read_tfjs("movenet-lightning.json")
  for layer in convolutions(graph):
    print(layer.name, layer.kernel.shape, layer.bias.shape)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

# Kinds of operations that convolve, in both formats -> whether every channel is convolved by itself.
CONVOLUTIONS = {
  "Conv2D": False,
  "_FusedConv2D": False,
  "CONV_2D": False,
  "DepthwiseConv2dNative": True,
  "FusedDepthwiseConv2dNative": True,
  "DEPTHWISE_CONV_2D": True,
}
BIAS_KINDS = ("Add", "AddV2", "BiasAdd")


class Refused(ValueError):
  """What is wrong with a file, as a whole message: readers hand it on as it is."""


class Op(NamedTuple):
  """One operation.

  Attributes:
    kind: as the format spells it, e.g. "Conv2D" (TensorFlow.js) or "CONV_2D" (tflite).
    name: of the node (TensorFlow.js) or of the first output (tflite).
    inputs: names of tensors; "" where an optional one is left out.
    outputs: names of tensors. Of TensorFlow.js only those that something reads are known.
    attributes: name -> plain value.
  """

  kind: str
  name: str
  inputs: tuple[str, ...]
  outputs: tuple[str, ...]
  attributes: Mapping[str, Any]


class OpGraph(NamedTuple):
  """A network.

  Attributes:
    source: where it was read, for messages.
    tensors: the constants; weights that are stored in few bits are float32 here.
    ops: every operation after those that it reads.
    inputs, outputs: names of tensors.
  """

  source: str
  tensors: Mapping[str, np.ndarray]
  ops: tuple[Op, ...]
  inputs: tuple[str, ...]
  outputs: tuple[str, ...]


class Convolution(NamedTuple):
  """A convolution's weights: `kernel` [height, width, inputs / groups, outputs], `bias` [outputs] or None."""

  name: str
  kernel: np.ndarray
  bias: np.ndarray | None
  depthwise: bool


def convolutions(graph: OpGraph) -> list[Convolution]:
  """Lists the convolutions with constant kernels, in the order of the operations, in the layout of `nn.conv`.

  The bias is the operation's own or, where a constant vector is added next or after a residual sum
  (TensorFlow.js), that one.
  """
  readers: dict[str, list[Op]] = {}
  for op in graph.ops:
    for name in op.inputs:
      readers.setdefault(name, []).append(op)
  found = []
  for op in graph.ops:
    if op.kind not in CONVOLUTIONS or (kernel := graph.tensors.get(op.inputs[1])) is None:
      continue
    depthwise = CONVOLUTIONS[op.kind]
    if op.kind.isupper():  # tflite: [outputs, h, w, inputs], depthwise [1, h, w, outputs]
      kernel = kernel.transpose(1, 2, 0, 3) if depthwise else kernel.transpose(1, 2, 3, 0)
    elif depthwise:  # [h, w, channels, multiplier]
      kernel = kernel.reshape(*kernel.shape[:2], 1, -1)
    bias = graph.tensors.get(op.inputs[2]) if len(op.inputs) > 2 else _added_next(graph, op, readers)
    found.append(Convolution(op.name, np.ascontiguousarray(kernel), bias, depthwise))
  return found


def _added_next(graph: OpGraph, op: Op, readers: Mapping[str, Sequence[Op]]) -> np.ndarray | None:
  for reader in readers.get(op.outputs[0], ()):
    if reader.kind == "AddN" and reader.inputs[0] == op.outputs[0]:  # a residual sum comes before the bias
      return _added_next(graph, reader, readers)
    if reader.kind in BIAS_KINDS:
      for name in reader.inputs:
        if (found := graph.tensors.get(name)) is not None and found.ndim == 1:
          return found
  return None


def in_order(ops: Sequence[Op], given: Sequence[str], source: str) -> tuple[Op, ...]:
  """Sorts operations so that each one comes after those that it reads, else in the order in which they stand.

  Args:
    ops: the operations.
    given: names of tensors that no operation makes: constants and inputs.
    source: for the message.

  Raises:
    Refused: one reads a tensor that nothing makes, or that depends on itself.
  """
  makers = {name: i for i, op in enumerate(ops) for name in op.outputs}
  known, done, order = set(given) | {""}, set(), []
  for start in range(len(ops)):
    waiting = [start]
    while waiting:  # depth first, without recursion: a graph is hundreds of operations deep
      at = waiting[-1]
      missing = [name for name in ops[at].inputs if name not in known]
      if at in done or not missing:
        waiting.pop()
        if at not in done:
          done.add(at)
          order.append(ops[at])
          known.update(ops[at].outputs)
        continue
      name = missing[0]
      if name not in makers or makers[name] in waiting:
        how = "nothing makes" if name not in makers else "depends on itself"
        raise Refused(f"{source} is damaged: {ops[at].name} reads {name!r}, which {how}; fetch it again")
      waiting.append(makers[name])
  return tuple(order)
