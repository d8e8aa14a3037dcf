"""MediaPipe's hand landmark networks, lite and full: 21 joints of one hand in a picture of 224 pixels.

Frozen judges of hand pictures, and trunks for perceptual losses. A picture that a loss was made with must not
be judged by the same network: take "lite" for losses and "full", which has other weights, for reports. The
weights are Google's (MediaPipe Hands, Apache-2.0): lite as a TensorFlow.js graph, full as a .tflite file.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.choose import choose
from vita_jax.data.files_tfjs import read_tfjs
from vita_jax.data.files_tflite import read_tflite
from vita_jax.data.op_graph import OpGraph, convolutions
from vita_jax.nn.detectors import weights
from vita_jax.nn.mobilenet import InvertedResidual, conv, depthwise, relu6
from vita_jax.nn.pool import max_pool
from vita_jax.nn.resize import resize

SIZE = 224
JOINTS = 21
# (features, expansion, stride, size of the kernel) of each block, and channels before the mean.
BLOCKS = {
  "lite": (
    *((16, 1, 1, 3), (16, 4, 2, 3), (16, 6, 1, 3), (24, 6, 2, 5), (24, 6, 1, 5), (48, 6, 2, 3)),
    *((48, 6, 1, 3), (48, 6, 1, 3), (64, 6, 1, 5), (64, 6, 1, 5), (64, 6, 1, 5), (112, 6, 2, 5)),
    *((112, 6, 1, 5), (112, 6, 1, 5), (112, 6, 1, 5)),
  ),
  "full": (
    *((16, 1, 1, 3), (24, 4, 2, 3), (24, 6, 1, 3), (40, 6, 2, 5), (40, 6, 1, 5), (80, 6, 2, 3)),
    *((80, 6, 1, 3), (80, 6, 1, 3), (112, 6, 1, 5), (112, 6, 1, 5), (112, 6, 1, 5), (192, 6, 2, 5)),
    *((192, 6, 1, 5), (192, 6, 1, 5), (192, 6, 1, 5)),
  ),
}
NAMES = tuple(BLOCKS)
LEVELS = ("block_0", "block_2", "block_4", "block_10", "block_14")  # the last block of strides 2, 4, ..., 32
# Heads by the names of their outputs in both files: ours, and how many numbers.
HEADS = {
  "Identity": ("joints", 63),
  "Identity_1": ("presence", 1),
  "Identity_2": ("right", 1),
  "Identity_3": ("world", 63),
}
PUBLISHED = {"lite": "handlandmark-lite.json", "full": "hand_landmark_full.tflite"}


class Landmarks(NamedTuple):
  """What the network says of a picture.

  Attributes:
    joints: [n, 21, 3]: x and y in pixels of the 224, z in the same unit relative to the wrist.
    presence: [n], probability that there is a hand.
    right: [n], probability that it is a right one.
    world: [n, 21, 3] in metres, from the middle of the hand.
    maps: of each block, [n, h, w, c], for perceptual losses: see `LEVELS`.
  """

  joints: jax.Array
  presence: jax.Array
  right: jax.Array
  world: jax.Array
  maps: dict[str, jax.Array]


class HandLandmarks(nn.Module):
  """Pictures [n, 224, 224, 3], RGB in [0, 1] -> `Landmarks`.

  Attributes:
    which: "lite" (1,011,712 weights) or "full" (2,715,680).
    form: where the convolutions stand, see `vita_jax.nn.conv`.
  """

  which: str = "full"
  form: str = "loop"

  @nn.compact
  def __call__(self, images: jax.Array) -> Landmarks:
    x = relu6(conv(24, 3, 2, form=self.form, name="stem")(images))
    maps = {}
    for i, (features, expansion, stride, size) in enumerate(BLOCKS[choose("network", self.which, NAMES)]):
      block = InvertedResidual(features, expansion, stride, self.form, size=size, name=f"block_{i}")
      y, _ = block(x)
      if stride == 2 and y.shape[-1] == x.shape[-1]:  # the first such block of lite
        y = y + max_pool(x, 2)
      x = maps[f"block_{i}"] = y
    x = relu6(conv(6 * x.shape[-1], 1, form=self.form, name="last_expand")(x))
    x = relu6(depthwise(x, 3, form=self.form, name="last_depthwise"))
    pooled = jnp.mean(x, axis=(1, 2))
    found = {name: nn.Dense(count, name=name)(pooled) for name, count in HEADS.values()}
    joints, world = (found[name].reshape(-1, JOINTS, 3) for name in ("joints", "world"))
    presence, right = (jax.nn.sigmoid(found[name][:, 0]) for name in ("presence", "right"))
    return Landmarks(joints, presence, right, world, maps)


def load_hand_landmarks(
  which: str = "full", folder: str | os.PathLike | None = None, *, form: str = "loop"
) -> tuple[HandLandmarks, dict[str, Any]]:
  """Loads a network: (module, variables), for `module.apply(variables, pictures)`.

  Args:
    which: "lite" | "full".
    folder: a folder with its weights, or the file; None: what launch/prepare_data.py wrote, else
      $VITA_DATA_DIR.
    form: see `HandLandmarks`.

  Raises:
    FileNotFoundError: no weights.
    ValueError: an unknown name, a damaged file, or the weights of another network.
  """
  name = model_name(choose("network", which, NAMES))
  read = functools.partial(_read, which)
  found = weights.find(name, folder, PUBLISHED[which], read)
  module = HandLandmarks(which, form)
  return module, {"params": weights.fitted(name, found, weights.shapes_of(module.clone(form="native"), SIZE))}


def model_name(which: str) -> str:
  """Returns the name of a network without its folder: "hand_landmarks_full"."""
  return f"hand_landmarks_{which}"


def judge(module: Any, variables: Any, pictures: jax.Array) -> Landmarks:
  """Finds the joints in pictures of any size, which are resized to 224 (bilinear).

  `joints` comes back in pixels of the pictures as given, counted from the centre of the upper left one; z by
  the mean of both scales. Differentiable in the pictures.

  Args:
    module: of `load_hand_landmarks`.
    variables: as well.
    pictures: floating [n, h, w, 3], RGB in [0, 1].

  Raises:
    ValueError: pictures of another shape or dtype.
  """
  if pictures.ndim != 4 or pictures.shape[-1] != 3 or not jnp.issubdtype(pictures.dtype, jnp.floating):
    found = f"{pictures.dtype} {list(pictures.shape)}"
    raise ValueError(f"pictures are floating [n, height, width, 3] in [0, 1]; these are {found}")
  height, width = pictures.shape[1:3]
  x = pictures if (height, width) == (SIZE, SIZE) else resize(pictures, (SIZE, SIZE))
  outputs = module.apply(variables, x)
  assert isinstance(outputs, Landmarks)
  scale = jnp.array([width, height, (width + height) / 2]) / SIZE
  # A corner of the network's picture is 0: the centre of the upper left pixel is 1/2.
  return outputs._replace(joints=outputs.joints * scale - jnp.array([0.5, 0.5, 0.0]))


def prepare(which: str, folder: Path) -> Path:
  """Converts the published weights under $VITA_DATA_DIR to `folder`/params.safetensors.

  Raises:
    FileNotFoundError, ValueError: they are not there, or not what they should be.
  """
  name = model_name(choose("network", which, NAMES))
  params = _read(which, weights.published_file(name, PUBLISHED[which]))
  weights.fitted(name, params, weights.shapes_of(HandLandmarks(which, "native"), SIZE))
  return weights.write(params, folder)


def params_of_graph(which: str, graph: OpGraph) -> dict[str, Any]:
  """Takes the parameters from either file, by the order of the convolutions and the names of the outputs.

  Raises:
    ValueError: another number of convolutions, or an output that no dense layer makes.
  """
  found, names = convolutions(graph), layer_names(which)
  if len(found) != len(names):
    raise ValueError(
      f"{graph.source} is no hand landmark network: it has {len(found)} convolutions, not {len(names)}"
    )
  params = weights.nested(dict(zip(names, found, strict=True)))
  makers = {op.outputs[0]: op for op in graph.ops}
  for output, (name, _) in HEADS.items():
    op = makers.get(output)
    while op is not None and op.kind in ("Identity", "Sigmoid", "LOGISTIC"):
      op = makers.get(op.inputs[0])
    kernel = None if op is None else graph.tensors.get(op.inputs[1])
    if op is None or kernel is None:
      raise ValueError(f"{graph.source} is no hand landmark network: no dense layer makes its {output}")
    if op.kind == "FULLY_CONNECTED":  # tflite: [outputs, inputs]
      kernel = kernel.T
    params[name] = {"kernel": np.ascontiguousarray(kernel), "bias": graph.tensors[op.inputs[2]]}
  return params


def layer_names(which: str) -> list[str]:
  """Lists the '/'-joined names of the convolutions in the order in which they are computed."""
  names = ["stem"]
  for i, (_, expansion, _, _) in enumerate(BLOCKS[which]):
    parts = ("expand", "depthwise", "project") if expansion > 1 else ("depthwise", "project")
    names += [f"block_{i}/{part}" for part in parts]
  return [*names, "last_expand", "last_depthwise"]


def _read(which: str, path: Path) -> dict[str, Any]:
  graph = read_tfjs(path) if path.suffix == ".json" else read_tflite(path)
  return params_of_graph(which, graph)


def trunk_features(
  module: HandLandmarks, variables: Mapping[str, Any], images: jax.Array
) -> dict[str, jax.Array]:
  """Returns the maps of `LEVELS` of pictures [n, h, w, 3] of any size in [0, 1], without resizing them."""
  found = module.apply(variables, images)
  assert isinstance(found, Landmarks)
  return {name: found.maps[name] for name in LEVELS}
