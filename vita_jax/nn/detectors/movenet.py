"""MoveNet SinglePose, Lightning (192 pixels) and Thunder (256): MobileNetV2 with four heads, CenterNet's way.

One head says where the centre of a person is; this map is the detector here. The others are for poses: 17
heat maps, the keypoints as seen from each centre, and what rounding to a place of the map loses. The weights
are those of Google's MoveNet, version 4 (Apache-2.0), as TensorFlow.js graphs.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.data.op_graph import OpGraph, convolutions
from vita_jax.nn.detectors.weights import nested
from vita_jax.nn.mobilenet import MobileNetV2, conv, depthwise
from vita_jax.nn.resize import resize

LIGHTNING, THUNDER = 192, 256
WIDTHS = {LIGHTNING: 1.0, THUNDER: 1.75}
STRIDE = 4
# In COCO's order.
KEYPOINTS = (
  "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist"
  " right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
).split()
COUNT = len(KEYPOINTS)
HEADS = {"center": 1, "kpt_heatmap": COUNT, "kpt_regress": 2 * COUNT, "kpt_offset": 2 * COUNT}
SOFTENING = 1.7998047  # places added to a distance before it divides a heat map
NUMBERS = {32: "", 16: "_1", 8: "_2", 4: "_3"}  # stride -> how the graph numbers its lateral layer
SMOOTH_NUMBERS = {16: "", 8: "_1", 4: "_2"}  # and the layer after the sum


class Outputs(NamedTuple):
  """The four heads, maps of side m = size / 4.

  Attributes:
    centre: logits [n, m, m] that a person's centre is there.
    heatmaps: logits [n, m, m, 17] that a keypoint is there.
    regress: [n, m, m, 17, 2]: (y, x) of each keypoint relative to this place, in places, for a centre here.
    offsets: [n, m, m, 17, 2]: (y, x) of each keypoint relative to this place, in places, for a keypoint here.
  """

  centre: jax.Array
  heatmaps: jax.Array
  regress: jax.Array
  offsets: jax.Array


class MoveNet(nn.Module):
  """Images [n, size, size, 3], RGB in [0, 1] -> `Outputs`; size is a multiple of 32.

  Attributes:
    width: of the MobileNetV2 trunk.
    form: where the convolutions stand, see `vita_jax.nn.conv`.
  """

  width: float = 1.0
  form: str = "loop"

  @nn.compact
  def __call__(self, images: jax.Array) -> Outputs:
    maps = MobileNetV2(self.width, form=self.form, name="trunk")(images * (255.0 * _half(2.0 / 255.0)) - 1.0)
    x = conv(64, 1, form=self.form, name="lateral_32")(maps.last)
    for stride, block, features in ((16, 9, 32), (8, 5, 24), (4, 2, 24)):
      finer = maps.blocks[block]
      finer = conv(x.shape[-1], 1, form=self.form, name=f"lateral_{stride}")(finer)
      x = _separable(
        resize(x, (finer.shape[1], finer.shape[2])) + finer, features, form=self.form, name=f"smooth_{stride}"
      )
    found = {}
    for name, features in HEADS.items():
      h = _separable(x, 96, form=self.form, name=name)
      found[name] = conv(features, 1, form=self.form, name=f"{name}_out")(h)
    regress, offsets = (found[name].reshape(*x.shape[:3], COUNT, 2) for name in ("kpt_regress", "kpt_offset"))
    return Outputs(found["center"][..., 0], found["kpt_heatmap"], regress, offsets)


def person_scores(outputs: Outputs) -> jax.Array:
  """Returns the probability of a person's centre at each place, [n, locations], row by row."""
  return jax.nn.sigmoid(outputs.centre).reshape(outputs.centre.shape[0], -1)


def boxes(outputs: Outputs) -> jax.Array:
  """Returns a box for each place, [n, locations, 4], in pixels: MoveNet has none of its own.

  It is the extent of the 17 keypoints regressed from the place, which reach from the ankles to the eyes and
  lie within the body, grown on each side by a tenth of its height.
  """
  n, side = outputs.centre.shape[:2]
  yx = (outputs.regress + _places(side)[..., None, :]) * STRIDE
  low, high = jnp.min(yx, axis=3), jnp.max(yx, axis=3)
  margin = 0.1 * (high[..., :1] - low[..., :1])
  corners = jnp.concatenate([(low - margin)[..., ::-1], (high + margin)[..., ::-1]], axis=-1)
  return corners.reshape(n, -1, 4)


def keypoints(outputs: Outputs) -> jax.Array:
  """Decodes the pose of the most central person: [n, 17, 3] of y and x as shares of the side, and score.

  The centre with the largest probability over its distance to the middle of the picture is taken; from there
  the regressed keypoints; for each the place with the largest heat-map probability over its distance to that
  (both distances in places plus 1.8); there the offset is added, and the heat map is the score.
  """
  n, side = outputs.centre.shape[:2]
  places = _places(side)
  middle = jnp.sqrt(jnp.sum(jnp.square(places - side / 2), axis=-1)) + SOFTENING
  centre = jnp.argmax((jax.nn.sigmoid(outputs.centre) / middle).reshape(n, -1), axis=1)
  regressed = (outputs.regress + places[..., None, :]).reshape(n, side * side, COUNT, 2)
  coarse = jnp.take_along_axis(regressed, centre[:, None, None, None], axis=1)[:, 0]
  away = jnp.sqrt(jnp.sum(jnp.square(places[None, :, :, None] - coarse[:, None, None]), axis=-1)) + SOFTENING
  heat = jax.nn.sigmoid(outputs.heatmaps).reshape(n, side * side, -1)
  best = jnp.argmax(heat / away.reshape(n, side * side, -1), axis=1)[:, None]  # [n, 1, 17]
  exact = (outputs.offsets + places[..., None, :]).reshape(n, side * side, COUNT, 2)
  yx = jnp.take_along_axis(exact, best[..., None], axis=1)[:, 0] * _half(1.0 / side)
  return jnp.concatenate([yx, jnp.take_along_axis(heat, best, axis=1)[:, 0, :, None]], axis=-1)


def params_of_graph(graph: OpGraph) -> dict[str, Any]:
  """Takes the parameters from the TensorFlow.js graph of either MoveNet.

  Raises:
    ValueError: a convolution whose name is none of MoveNet's.
  """
  return nested({_our_name(layer.name, graph.source): layer for layer in convolutions(graph)})


def _our_name(name: str, source: str) -> str:
  rules = (
    (r".*/model/Conv1_relu/.*", "trunk/stem"),
    (r".*/model/expanded_conv_(depthwise|project)[_/].*", r"trunk/block_0/\1"),
    (r".*/model/block_(\d+)_(expand|depthwise|project)[_/].*", r"trunk/block_\1/\2"),
    (r".*/model/out_relu/.*", "trunk/last"),
    *((rf".*/model_1/conv2d{i}/BiasAdd", f"lateral_{s}") for s, i in NUMBERS.items()),
    *((rf".*/separable_conv2d{i}/.*/depthwise", f"smooth_{s}/depthwise") for s, i in SMOOTH_NUMBERS.items()),
    *((rf".*/model_1/re_lu{i}/Relu", f"smooth_{s}/pointwise") for s, i in SMOOTH_NUMBERS.items()),
    (r".*/(\w+)_0/separable_conv2d_\d/.*/depthwise", r"\1/depthwise"),
    (r".*/(\w+)_0/re_lu_\d/Relu", r"\1/pointwise"),
    (r".*/(\w+)_0/conv2d_\d/BiasAdd", r"\1_out"),
  )
  for pattern, ours in rules:
    if match := re.fullmatch(pattern, name):
      return match.expand(ours)
  raise ValueError(f"{source} is not MoveNet: it has a convolution {name!r}")


def _separable(x: jax.Array, features: int, *, form: str, name: str) -> jax.Array:
  return Separable(features, form=form, name=name)(x)


class Separable(nn.Module):
  """A depthwise 3x3 convolution without bias, a product of channels, and ReLU."""

  features: int
  form: str = "loop"

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    x = depthwise(x, 3, use_bias=False, form=self.form, name="depthwise")
    return nn.relu(conv(self.features, 1, form=self.form, name="pointwise")(x))


def _places(side: int) -> jax.Array:
  """[side, side, 2] of (row, column)."""
  rows, columns = jnp.meshgrid(jnp.arange(side), jnp.arange(side), indexing="ij")
  return jnp.stack([rows, columns], axis=-1).astype(jnp.float32)


def _half(number: float) -> float:
  """The number as float16 has it: so the published graph holds its constants, 2.5e-4 off for 1 / 48."""
  return float(np.float16(number))
