"""MediaPipe's palm detector, 192 pixels: where hands are in a picture, and whether there is one at all.

Blocks of a 5x5 depthwise and a 1x1 convolution with a sum; two maps, of strides 8 and 16, with 2 and 6
anchors a place, 2,016 in all. The weights are Google's (MediaPipe Hands, palm_detection_full, Apache-2.0), a
.tflite file. It is no person detector, so it is not among `detectors.NAMES`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from vita_jax.data.files_tflite import read_tflite
from vita_jax.data.op_graph import OpGraph, convolutions
from vita_jax.nn.detectors import weights
from vita_jax.nn.detectors.boxes import grid_centres
from vita_jax.nn.detectors.pictures import GREY, fit
from vita_jax.nn.mobilenet import conv, depthwise
from vita_jax.nn.pool import max_pool
from vita_jax.nn.resize import resize

NAME, PUBLISHED = "palms", "palm_detection_full.tflite"
SIZE = 192
# Features of each block; one with more than those before it, and the last group, begin with stride 2.
GROUPS = (32, 64, 128, 256, 256)
ANCHORS = {8: 2, 16: 6}  # stride -> anchors of a place
NUMBERS = 18  # of an anchor: x, y, width, height, and x, y of seven points of the palm
# Below either of which a picture is refused. Of 50 rendered hands that fill their 64 pixels 48 pass; of 50
# photographs without a hand none does, by the presence: 42 of them have a palm's score above 0.1.
THRESHOLD, PRESENCE = 0.1, 0.5
MARGINS = (0.0, 0.25, 0.5)  # of a picture's side, added around it: the detector knows hands within scenes


class Palms(NamedTuple):
  """What the network says of each of the 2,016 anchors: `logits` [n, 2016], `numbers` [n, 2016, 18]."""

  logits: jax.Array
  numbers: jax.Array


class PalmDetector(nn.Module):
  """Images [n, 192, 192, 3], RGB in [0, 1] -> `Palms`.

  Attributes:
    form: where the convolutions stand, see `vita_jax.nn.conv`.
  """

  form: str = "loop"

  @nn.compact
  def __call__(self, images: jax.Array) -> Palms:
    x = prelu(self, "stem_slope", conv(GROUPS[0], 5, 2, form=self.form, name="stem")(images))
    kept = []
    for group, features in enumerate(GROUPS):
      for i in range(5 if group else 4):
        stride = 2 if group and i == 0 else 1
        x = Block(features, stride, form=self.form, name=f"block_{group}_{i}")(x)
      kept.append(x)
    found = {}
    for stride, lateral in ((16, kept[3]), (8, kept[2])):
      x = resize(x, (lateral.shape[1], lateral.shape[2]))
      x = conv(lateral.shape[-1], 1, form=self.form, name=f"up_{stride}")(x)
      x = lateral + prelu(self, f"up_{stride}_slope", x)
      for i in range(2):
        x = Block(x.shape[-1], 1, form=self.form, name=f"head_{stride}_{i}")(x)
      parts = []
      for name, width in (("logits", 1), ("numbers", NUMBERS)):
        y = conv(ANCHORS[stride] * width, 1, form=self.form, name=f"{name}_{stride}")(x)
        parts.append(y.reshape(x.shape[0], -1, width))
      found[stride] = parts
    logits, numbers = (jnp.concatenate([found[8][i], found[16][i]], axis=1) for i in (0, 1))
    return Palms(logits[..., 0], numbers)


class Block(nn.Module):
  """Depthwise 5x5, 1x1, the sum with x (its maxima, and zeros for new channels), PReLU."""

  features: int
  stride: int
  form: str = "loop"

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    y = depthwise(x, 5, self.stride, form=self.form, name="depthwise")
    y = conv(self.features, 1, form=self.form, name="pointwise")(y)
    past = max_pool(x, 2) if self.stride == 2 else x
    past = jnp.pad(past, ((0, 0), (0, 0), (0, 0), (0, self.features - x.shape[-1])))
    return prelu(self, "slope", past + y)


def prelu(module: nn.Module, name: str, x: jax.Array) -> jax.Array:
  """Multiplies what is below 0 by a weight of its channel, a parameter `name` [c] of the module."""
  slope = module.param(name, nn.initializers.zeros, (x.shape[-1],))
  return jnp.where(x >= 0, x, slope * x)


def load_palms(
  folder: str | os.PathLike | None = None, *, form: str = "loop"
) -> tuple[PalmDetector, dict[str, Any]]:
  """Loads the detector: (module, variables).

  Args:
    folder: a folder with its weights, or the file; None: what launch/prepare_data.py wrote, else
      $VITA_DATA_DIR.
    form: see `PalmDetector`.

  Raises:
    FileNotFoundError: no weights.
    ValueError: a damaged file, or the weights of another network.
  """
  found = weights.find(NAME, folder, PUBLISHED, _read)
  module = PalmDetector(form)
  return module, {"params": weights.fitted(NAME, found, weights.shapes_of(PalmDetector("native"), SIZE))}


def prepare(folder: Path) -> Path:
  """Converts the published weights under $VITA_DATA_DIR to `folder`/params.safetensors, see `load_palms`."""
  params = _read(weights.published_file(NAME, PUBLISHED))
  weights.fitted(NAME, params, weights.shapes_of(PalmDetector("native"), SIZE))
  return weights.write(params, folder)


def palm_scores(outputs: Palms) -> jax.Array:
  """Returns the probability of a palm at each anchor, [n, 2016]."""
  return jax.nn.sigmoid(outputs.logits)


def palm_boxes(outputs: Palms) -> jax.Array:
  """Decodes the boxes of palms, [n, 2016, 4], x0, y0, x1, y1 in pixels of the 192."""
  centre = jnp.asarray(anchors()) + outputs.numbers[..., :2]
  half = outputs.numbers[..., 2:4] / 2
  return jnp.concatenate([centre - half, centre + half], axis=-1)


def anchors() -> np.ndarray:
  """Returns the centres (x, y) of the anchors in pixels, float32 [2016, 2]."""
  parts = [np.repeat(grid_centres(SIZE, (stride,))[0], count, axis=0) for stride, count in ANCHORS.items()]
  return np.concatenate(parts)


def best_scores(variables: Any, pictures: Sequence[np.ndarray]) -> np.ndarray:
  """Returns the best score of each picture, float32 [n], over `MARGINS` of grey around it.

  Args:
    variables: of `load_palms`.
    pictures: uint8 [h, w, 3] of any sizes.
  """
  images = np.stack([fit(_framed(picture, m), SIZE).image for m in MARGINS for picture in pictures])
  found = [_best(variables, part) for part in np.split(images, len(MARGINS) * len(pictures))]
  return np.max(np.reshape(found, (len(MARGINS), -1)), axis=0)


def check_hands(pictures: Sequence[np.ndarray], names: Sequence[str]) -> None:
  """Refuses pictures that show no hand: by the palm detector, and by the full landmark network's presence.

  Args:
    pictures: uint8 [h, w, 3] of any sizes, each of one hand, fingers up, that fills it.
    names: what to call them in a message, e.g. their files.

  Raises:
    ValueError: one shows none.
    FileNotFoundError: the weights of either network are not there.
  """
  scores = best_scores(load_palms()[1], pictures)
  for name, score, presence in zip(names, scores, presences(pictures), strict=True):
    if score < THRESHOLD or presence < PRESENCE:
      raise ValueError(
        f"{name} shows no hand: the palm detector says {score:.2f} (at least {THRESHOLD}) and the"
        f" landmark network {presence:.2f} (at least {PRESENCE}); give a picture of one hand, fingers up,"
        " that fills it"
      )


def presences(pictures: Sequence[np.ndarray]) -> np.ndarray:
  """Returns the full landmark network's probability that a picture uint8 [h, w, 3] shows a hand, [n]."""
  from vita_jax.nn import hand_landmarks  # stands on this package

  module, variables = hand_landmarks.load_hand_landmarks("full", form="top")
  apply = jax.jit(module.apply)
  images = [fit(picture, hand_landmarks.SIZE).image[None] for picture in pictures]
  return np.array([float(apply(variables, image).presence[0]) for image in images])


def params_of_graph(graph: OpGraph) -> dict[str, Any]:
  """Takes the parameters from the published graph, by the order of its convolutions and PReLUs.

  Raises:
    ValueError: another number of them.
  """
  layers, names = convolutions(graph), layer_names()
  slopes = [graph.tensors[op.inputs[1]].reshape(-1) for op in graph.ops if op.kind == "PRELU"]
  where = slope_names()
  if len(layers) != len(names) or len(slopes) != len(where):
    found = f"{len(layers)} convolutions and {len(slopes)} PReLUs"
    raise ValueError(
      f"{graph.source} is not the palm detector: it has {found}, not {len(names)} and {len(where)}"
    )
  flat = flatten_dict(weights.nested(dict(zip(names, layers, strict=True))), sep="/")
  return unflatten_dict({**flat, **dict(zip(where, slopes, strict=True))}, sep="/")


def layer_names() -> list[str]:
  """Lists the '/'-joined names of the convolutions in the order of the published graph."""
  names = ["stem"]
  for block in _blocks():
    names += [f"{block}/depthwise", f"{block}/pointwise"]
  for stride in (16, 8):
    names.append(f"up_{stride}")
    names += [f"head_{stride}_{i}/{part}" for i in (0, 1) for part in ("depthwise", "pointwise")]
    names += [f"logits_{stride}", f"numbers_{stride}"]
  return names


def slope_names() -> list[str]:
  """Lists the names of the weights of PReLUs in the order of the published graph."""
  heads = [f"{name}slope" for s in (16, 8) for name in (f"up_{s}_", f"head_{s}_0/", f"head_{s}_1/")]
  return ["stem_slope", *(f"{block}/slope" for block in _blocks()), *heads]


def _blocks() -> list[str]:
  return [f"block_{group}_{i}" for group in range(len(GROUPS)) for i in range(5 if group else 4)]


def _read(path: Path) -> dict[str, Any]:
  return params_of_graph(read_tflite(path))


def _framed(picture: np.ndarray, margin: float) -> np.ndarray:
  wide = [(round(margin * n), round(margin * n)) for n in picture.shape[:2]]
  return np.pad(picture, (*wide, (0, 0)), constant_values=GREY)


@jax.jit
def _best(variables: Any, images: jax.Array) -> jax.Array:
  outputs = PalmDetector("top").apply(variables, images)
  assert isinstance(outputs, Palms)
  return jnp.max(palm_scores(outputs), axis=1)
