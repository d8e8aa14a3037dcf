"""SSD on MobileNetV2, 300 x 300 pixels, 23 classes of Open Images: a detector that is unlike NanoDet.

Six maps of 19 to 1 places a side; each place has 3 (the finest map) or 6 anchors, 1,917 in all. The weights
are those of MediaPipe's Objectron (Apache-2.0), a .tflite file of float16 numbers.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.data.op_graph import OpGraph, convolutions
from vita_jax.nn import mobilenet
from vita_jax.nn.detectors.weights import nested
from vita_jax.nn.mobilenet import MobileNetV2, conv, relu6

SIZE = 300
CLASSES = 24  # 0 is background
PERSON = 4
SIDES = (19, 10, 5, 3, 2, 1)  # of the six maps
EXTRA = (
  (256, 512),
  (128, 256),
  (128, 256),
  (64, 128),
)  # of the maps after the trunk: 1x1, then 3x3 with stride 2
SCALES = (0.2, 0.95)  # of the anchors of the finest and the coarsest map, as shares of the image
RATIOS = (1.0, 2.0, 0.5, 3.0, 1.0 / 3.0)
VARIANCES = (10.0, 10.0, 5.0, 5.0)  # of y, x, height, width


class Outputs(NamedTuple):
  """What the network says of each of the 1,917 anchors.

  Attributes:
    classes: logits [n, anchors, 24]; sigmoid gives the scores.
    sides: [n, anchors, 4]: y, x, height, width relative to the anchor.
  """

  classes: jax.Array
  sides: jax.Array


class SSDMobileNetV2(nn.Module):
  """Images [n, 300, 300, 3], RGB in [0, 1] -> `Outputs`.

  Attributes:
    form: where the convolutions stand, see `vita_jax.nn.conv`.
  """

  form: str = "loop"

  @nn.compact
  def __call__(self, images: jax.Array) -> Outputs:
    trunk = MobileNetV2(form=self.form, name="trunk")(2.0 * images - 1.0)
    maps = [trunk.expanded[13], trunk.last]
    for i, (narrow, wide) in enumerate(EXTRA):
      x = relu6(conv(narrow, 1, form=self.form, name=f"extra_{i}_narrow")(maps[-1]))
      maps.append(relu6(conv(wide, 3, 2, form=self.form, name=f"extra_{i}_wide")(x)))
    classes, sides = [], []
    for i, x in enumerate(maps):
      count = 3 if i == 0 else 6
      every = conv(count * CLASSES, 1, form=self.form, name=f"classes_{i}")(x)
      classes.append(every.reshape(x.shape[0], -1, CLASSES))
      every = conv(count * 4, 1, form=self.form, name=f"sides_{i}")(x)
      sides.append(every.reshape(x.shape[0], -1, 4))
    return Outputs(jnp.concatenate(classes, axis=1), jnp.concatenate(sides, axis=1))


def person_scores(outputs: Outputs) -> jax.Array:
  """Returns the probability of a person at each anchor, [n, anchors]."""
  return jax.nn.sigmoid(outputs.classes[..., PERSON])


def boxes(outputs: Outputs) -> jax.Array:
  """Decodes the boxes [n, anchors, 4], x0, y0, x1, y1 in pixels.

  With an anchor's centre (y, x) and size (h, w): centre = (y + t_y h / 10, x + t_x w / 10), size =
  (h exp(t_h / 5), w exp(t_w / 5)).
  """
  table = anchors()
  t = outputs.sides / jnp.asarray(VARIANCES)
  centre = table[:, :2] + t[..., :2] * table[:, 2:]
  half = table[:, 2:] * jnp.exp(t[..., 2:]) / 2
  return jnp.concatenate([(centre - half)[..., ::-1], (centre + half)[..., ::-1]], axis=-1) * SIZE


@functools.cache
def anchors() -> np.ndarray:
  """Returns the anchors: float32 [1917, 4] of y, x, height, width as shares of the image.

  Map k of 6 has the scale s_k = 0.2 + 0.75 k / 5. The finest map has (0.1, ratio 1), (s_0, ratio 2), (s_0,
  ratio 1/2); the others s_k with the ratios 1, 2, 1/2, 3, 1/3, and sqrt(s_k s_{k+1}) with ratio 1, where s_6
  is 1 (Liu et al., SSD, ECCV 2016, section 2.2, as TensorFlow's object detection library has it). The width
  is s sqrt(ratio).
  """
  low, high = SCALES
  scales = [low + (high - low) * k / (len(SIDES) - 1) for k in range(len(SIDES))] + [1.0]
  found = []
  for k, side in enumerate(SIDES):
    shapes = [(0.1, 1.0), (scales[0], 2.0), (scales[0], 0.5)]
    if k:
      shapes = [(scales[k], ratio) for ratio in RATIOS] + [((scales[k] * scales[k + 1]) ** 0.5, 1.0)]
    sizes = np.array([(scale / ratio**0.5, scale * ratio**0.5) for scale, ratio in shapes])
    rows, columns = np.mgrid[:side, :side].reshape(2, -1)
    centres = (np.stack([rows, columns], axis=-1) + 0.5) / side
    table = np.broadcast_to(centres[:, None], (side * side, len(sizes), 2))
    found.append(np.concatenate([table, np.broadcast_to(sizes, table.shape)], axis=-1).reshape(-1, 4))
  return np.concatenate(found).astype(np.float32)


def params_of_graph(graph: OpGraph) -> dict[str, Any]:
  """Takes the parameters from the .tflite file's graph, by the order of its convolutions.

  Raises:
    ValueError: a graph with another number of convolutions. (Shapes are checked by `detector.load`.)
  """
  found, names = convolutions(graph), layer_names()
  if len(found) != len(names):
    raise ValueError(
      f"{graph.source} is not this SSD-MobileNetV2: it has {len(found)} convolutions, not {len(names)}"
    )
  return nested(dict(zip(names, found, strict=True)))


def layer_names() -> list[str]:
  """Lists the '/'-joined names of the layers in the order of the published file."""
  trunk = [f"trunk/{name}" for name in mobilenet.layer_names()]
  split = trunk.index("trunk/block_13/expand") + 1
  names = [*trunk[:split], "sides_0", "classes_0", *trunk[split:], "sides_1", "classes_1"]
  for i in range(len(EXTRA)):
    names += [f"extra_{i}_narrow", f"extra_{i}_wide", f"sides_{i + 2}", f"classes_{i + 2}"]
  return names
