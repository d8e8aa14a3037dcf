"""YOLOv2 and YOLOv3 (Redmon and Farhadi), 80 COCO classes, 416 x 416 pixels; weights from Darknet's files.

Neither's weights come with the package: `load("yolov2", "yolov2.weights")`. Batch norm is folded when the
file is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.base.choose import choose
from vita_jax.data.files_darknet import read_darknet
from vita_jax.nn.conv import Conv
from vita_jax.nn.detectors.weights import shapes_of
from vita_jax.nn.pool import max_pool
from vita_jax.nn.resize import resize

SIZE = 416
CLASSES = 80
PERSON = 0
REORGS = ("space_to_depth", "darknet")
# Widths and heights in cells of 32 pixels.
ANCHORS_2 = (
  (0.57273, 0.677385),
  (1.87446, 2.06253),
  (3.33843, 5.47434),
  (7.88282, 3.52778),
  (9.77052, 9.16828),
)
# In pixels, three for each of the strides 32, 16 and 8.
ANCHORS_3 = {
  32: ((116, 90), (156, 198), (373, 326)),
  16: ((30, 61), (62, 45), (59, 119)),
  8: ((10, 13), (16, 30), (33, 23)),
}
# (features, kernel size) of each layer; "pool" halves the map.
BACKBONE_2 = (
  ((32, 3), "pool", (64, 3), "pool", (128, 3), (64, 1), (128, 3), "pool"),
  ((256, 3), (128, 1), (256, 3), "pool", (512, 3), (256, 1), (512, 3), (256, 1), (512, 3)),
  ("pool", (1024, 3), (512, 1), (1024, 3), (512, 1), (1024, 3), (1024, 3), (1024, 3)),
)
STAGES_3 = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))  # of Darknet-53: features, residual blocks


class Outputs(NamedTuple):
  """What a network says of each anchor; cells row by row, the anchors of a cell after one another.

  Attributes:
    sides: [n, anchors, 4]: t_x, t_y, t_w, t_h.
    objects: logits [n, anchors] that there is anything; sigmoid gives the objectness.
    classes: logits [n, anchors, 80].
  """

  sides: jax.Array
  objects: jax.Array
  classes: jax.Array


class YoloV2(nn.Module):
  """Images [n, size, size, 3], RGB in [0, 1], size a multiple of 32 -> `Outputs`.

  Its file has 50,983,561 numbers.

  Attributes:
    width: multiplies all numbers of channels but those of the output.
    reorg: how the 26 x 26 map becomes one of 13 x 13, see `reorganize`.
    form: where the convolutions stand, see `vita_jax.nn.conv`.
  """

  width: float = 1.0
  reorg: str = "space_to_depth"
  form: str = "loop"

  @nn.compact
  def __call__(self, images: jax.Array) -> Outputs:
    first, second, third = BACKBONE_2
    layers = _Layers(self.width, self.form)
    x = layers.through(images, first)
    fine = layers.through(x, second)
    x = layers.through(fine, third)
    fine = reorganize(layers.conv(fine, 64, 1), how=self.reorg)
    x = layers.conv(jnp.concatenate([fine, x], axis=-1), 1024, 3)
    return _split(layers.out(x, len(ANCHORS_2)))


class YoloV3(nn.Module):
  """Images [n, size, size, 3], RGB in [0, 1], size a multiple of 32 -> `Outputs`.

  Its file has 62,001,757 numbers. Its anchors are those of stride 32 first, then 16, then 8.

  Attributes:
    width, form: as of `YoloV2`.
  """

  width: float = 1.0
  form: str = "loop"

  @nn.compact
  def __call__(self, images: jax.Array) -> Outputs:
    layers = _Layers(self.width, self.form)
    x = layers.conv(images, 32, 3)
    maps = []
    for features, blocks in STAGES_3:
      x = layers.conv(x, features, 3, 2)
      for _ in range(blocks):
        x = x + layers.conv(layers.conv(x, features // 2, 1), features, 3)
      maps.append(x)
    found = []
    for features, finer in ((512, maps[3]), (256, maps[2]), (128, None)):
      x = layers.through(x, ((features, 1), (2 * features, 3)) * 2 + ((features, 1),))
      found.append(_split(layers.out(layers.conv(x, 2 * features, 3), 3)))
      if finer is not None:
        x = resize(layers.conv(x, features // 2, 1), (finer.shape[1], finer.shape[2]), method="nearest")
        x = jnp.concatenate([x, finer], axis=-1)
    return Outputs(*(jnp.concatenate(parts, axis=1) for parts in zip(*found, strict=True)))


class _Layers:
  """Makes the layers of the module that is being called, named in the order of Darknet's files.

  `conv_NUMBER` has batch norm in the file and leaky ReLU (slope 0.1) behind it, `out_NUMBER` has neither.
  """

  def __init__(self, width: float, form: str):
    self.width, self.form, self.count = width, form, 0

  def conv(self, x: jax.Array, features: int, size: int, stride: int = 1) -> jax.Array:
    layer = Conv(
      max(1, round(features * self.width)),
      size,
      stride,
      size // 2,
      form=self.form,
      name=f"conv_{self.count}",
    )
    self.count += 1
    return nn.leaky_relu(layer(x), 0.1)

  def out(self, x: jax.Array, anchors: int) -> jax.Array:
    layer = Conv(anchors * (5 + CLASSES), 1, form=self.form, name=f"out_{self.count}")
    self.count += 1
    return layer(x)

  def through(self, x: jax.Array, layers: Any) -> jax.Array:
    for layer in layers:
      x = max_pool(x, 2) if layer == "pool" else self.conv(x, *layer)
    return x


def reorganize(x: jax.Array, *, how: str) -> jax.Array:
  """Moves each 2 x 2 square of places into the channels: [n, h, w, c] -> [n, h / 2, w / 2, 4 c].

  "space_to_depth": channel (2 dy + dx) c + k is channel k at place (dy, dx) of the square, as in the PyTorch
  ports, which the adversarial-logo paper attacks, and in newer Darknets. "darknet": as the layer `[reorg]` of
  Darknet's first versions, which reads the memory of [c, h, w] as [c / 4, 2 h, 2 w] and writes [c, h, w], so
  that its "channels" are of mixed places. Weights fit one of them only.

  Raises:
    ValueError: an unknown way.
  """
  choose("reorg", how, REORGS)
  n, h, w, c = x.shape
  if how == "space_to_depth":
    return x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, h // 2, w // 2, 4 * c)
  memory = x.transpose(0, 3, 1, 2).reshape(n, c // 4 * h, 2, w, 2)
  mixed = memory.transpose(0, 2, 4, 1, 3).reshape(n, 4 * c, h // 2, w // 2)
  return mixed.transpose(0, 2, 3, 1)


def person_scores_2(outputs: Outputs) -> jax.Array:
  """Returns objectness times the softmax probability of a person, [n, anchors]."""
  return jax.nn.sigmoid(outputs.objects) * jax.nn.softmax(outputs.classes, axis=-1)[..., PERSON]


def person_scores_3(outputs: Outputs) -> jax.Array:
  """Returns objectness times the sigmoid probability of a person, [n, anchors]."""
  return jax.nn.sigmoid(outputs.objects) * jax.nn.sigmoid(outputs.classes[..., PERSON])


def boxes_2(outputs: Outputs) -> jax.Array:
  """Decodes YOLOv2's boxes [n, anchors, 4], x0, y0, x1, y1 in pixels of an image of 416."""
  return _boxes(outputs.sides, 32, [(32 * w, 32 * h) for w, h in ANCHORS_2])


def boxes_3(outputs: Outputs) -> jax.Array:
  """Decodes YOLOv3's boxes [n, anchors, 4], x0, y0, x1, y1 in pixels of an image of 416."""
  found, at = [], 0
  for stride, anchors in ANCHORS_3.items():
    count = (SIZE // stride) ** 2 * len(anchors)
    found.append(_boxes(outputs.sides[:, at : at + count], stride, anchors))
    at += count
  return jnp.concatenate(found, axis=1)


def read_weights(module: nn.Module, path: Path) -> dict[str, Any]:
  """Reads the parameters of a `YoloV2` or `YoloV3` from Darknet's weight file.

  Raises:
    FileNotFoundError: no such file.
    ValueError: a file of another network, or a damaged one.
  """
  kernels = kernel_shapes(module)
  return dict(read_darknet(path, kernels, {name: name.startswith("conv_") for name in kernels}))


def kernel_shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
  """Returns the name and the kernel's shape of each layer, in the order of Darknet's files."""
  shapes = shapes_of(module, 32)
  names = sorted(shapes, key=lambda name: int(name.rpartition("_")[2]))
  return {name: shapes[name]["kernel"].shape for name in names}


def _split(x: jax.Array) -> Outputs:
  x = x.reshape(x.shape[0], -1, 5 + CLASSES)
  return Outputs(x[..., :4], x[..., 4], x[..., 5:])


def _boxes(sides: jax.Array, stride: int, anchors: Any) -> jax.Array:
  """Centre ((sigmoid(t_x) + column) stride, ...), size (anchor exp(t)), of square maps."""
  table = jnp.asarray(anchors, jnp.float32)
  side = round((sides.shape[1] / len(anchors)) ** 0.5)
  rows, columns = jnp.meshgrid(jnp.arange(side), jnp.arange(side), indexing="ij")
  cells = jnp.repeat(jnp.stack([columns, rows], axis=-1).reshape(-1, 2), len(anchors), axis=0)
  centres = (jax.nn.sigmoid(sides[..., :2]) + cells) * stride
  half = jnp.tile(table, (side * side, 1)) * jnp.exp(sides[..., 2:]) / 2
  return jnp.concatenate([centres - half, centres + half], axis=-1)
