"""Runs the operations of a network file one after the other, as they say: an oracle for our modules.

It knows nothing of any architecture: strides, padding and activations come from the file.
"""

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.data.op_graph import CONVOLUTIONS

ACTIVATIONS = {
  "NONE": lambda x: x,
  "RELU": lambda x: jnp.maximum(x, 0),
  "RELU6": lambda x: jnp.clip(x, 0, 6),
  "Relu": lambda x: jnp.maximum(x, 0),
  "Relu6": lambda x: jnp.clip(x, 0, 6),
}


def run(graph, image, wanted):
  """Values of the tensors `wanted` for an image [1, h, w, c], given to the first input."""
  makers = {name: op for op in graph.ops for name in op.outputs}
  known = {graph.inputs[0]: image}
  needed, waiting = set(), list(wanted)
  while waiting:
    name = waiting.pop()
    if name in makers and makers[name].name not in needed:
      needed.add(makers[name].name)
      waiting += makers[name].inputs
  for op in graph.ops:
    if op.name in needed:
      values = [known[name] if name in known else graph.tensors[name] for name in op.inputs]
      found = _compute(op, values)
      known.update(zip(op.outputs, found if isinstance(found, list) else [found], strict=False))
  return [known[name] for name in wanted]


def _compute(op, values):
  x, a = values[0], op.attributes
  if op.kind in CONVOLUTIONS:
    return _convolve(op, values)
  match op.kind:
    case "Cast" | "Identity" | "ExpandDims" | "Squeeze" | "Unpack":  # a batch of one, apart and back
      return jnp.asarray(x, jnp.float32)
    case "Add" | "AddV2" | "ADD":
      return x + values[1]
    case "Sub":
      return x - values[1]
    case "Mul":
      return x * values[1]
    case "Sigmoid":
      return jax.nn.sigmoid(x)
    case "LeakyRelu":
      return jnp.where(x > 0, x, a["alpha"] * x)
    case "Transpose":
      return jnp.transpose(x, values[1])
    case "Pad":
      return jnp.pad(x, values[1])
    case "PadV2":
      return jnp.pad(x, values[1], constant_values=values[2])
    case "MaxPool":
      return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, a["ksize"], a["strides"], a["padding"])
    case "SparseToDense":
      assert not len(x)  # nothing is put in
      return np.broadcast_to(values[3], values[1])
    case "SplitV":
      return jnp.split(x, np.cumsum(values[1])[:-1], axis=int(values[2]))
    case "ConcatV2":
      return jnp.concatenate(values[:-1], axis=int(values[-1]))
    case "CONCATENATION":
      return jnp.concatenate(values, axis=a["axis"])
    case "Reshape" | "RESHAPE":
      return jnp.reshape(x, [int(n) for n in values[1]])
    case "ResizeBilinear":
      assert a["half_pixel_centers"] and not a["align_corners"]
      size = (x.shape[0], *(int(n) for n in values[1]), x.shape[-1])
      return jax.image.resize(x, size, "linear", antialias=False)
  raise NotImplementedError(op.kind)


def _convolve(op, values):
  x, kernel, a = values[0], jnp.asarray(values[1]), op.attributes
  lite, depthwise = op.kind.isupper(), CONVOLUTIONS[op.kind]
  if lite:
    assert a["dilation_w"] == a["dilation_h"] == 1
    strides = (a["stride_h"], a["stride_w"])
    kernel = jnp.moveaxis(kernel, 0, -1) if not depthwise else jnp.moveaxis(kernel, 0, 2)
  else:
    assert set(a["dilations"]) == {1} and a["data_format"] == "NHWC"
    strides = a["strides"][1:3]
    kernel = kernel.reshape(*kernel.shape[:2], 1, -1) if depthwise else kernel
  y = jax.lax.conv_general_dilated(
    x,
    kernel,
    strides,
    a["padding"],
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=x.shape[-1] if depthwise else 1,
    precision=jax.lax.Precision.HIGHEST,
  )
  if len(values) > 2:
    y = y + np.asarray(values[2])
  last = a["activation"] if lite else next((f for f in a.get("fused_ops", ()) if f in ACTIVATIONS), "NONE")
  return ACTIVATIONS[last](y)
