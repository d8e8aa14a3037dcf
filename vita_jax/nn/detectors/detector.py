"""One face for every detector: `load(name)` gives pure functions from images to scores and boxes."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vita_jax.base.choose import choose
from vita_jax.data.files_tfjs import read_tfjs
from vita_jax.data.files_tflite import read_tflite
from vita_jax.data.op_graph import OpGraph
from vita_jax.nn.detectors import movenet, nanodet, ssd, weights, yolo


class Detector(NamedTuple):
  """A person detector.

  Scores of two detectors are on unlike scales: calibrate a threshold for each, on pictures without people.

  Attributes:
    name: as `load` takes it.
    size: side of the square images that it takes, in pixels.
    variables: its weights, float32; passed to the two functions.
    scores: `scores(variables, images) -> [n, locations]`, the score of a person in [0, 1] at each location;
      images are [n, size, size, 3], RGB, floating, in [0, 1]. Differentiable in the images; batch norm is in
      evaluation mode.
    detect: `detect(variables, images) -> (scores [n, locations], boxes [n, locations, 4])`, boxes as x0, y0,
      x1, y1 in pixels of the image; they may reach out of it.
  """

  name: str
  size: int
  variables: Any
  scores: Callable[[Any, jax.Array], jax.Array]
  detect: Callable[[Any, jax.Array], tuple[jax.Array, jax.Array]]


class Kind(NamedTuple):
  """What a detector is made of.

  Attributes:
    size: side of its images.
    module: `module(form=form)` -> the network: images -> outputs.
    scores: outputs -> [n, locations].
    boxes: outputs -> [n, locations, 4].
    published: the file that its authors published.
    read: that file's path -> parameters.
  """

  size: int
  module: Callable[..., Any]
  scores: Callable[[Any], jax.Array]
  boxes: Callable[[Any], jax.Array]
  published: str
  read: Callable[[Path], dict[str, Any]]


def load(name: str, folder: str | os.PathLike | None = None, *, form: str = "loop") -> Detector:
  """Loads a detector; NanoDet's weights ship with the package, those of the others are found (`weights.py`).

  Examples:
    >>> detector = load("nanodet")
    >>> images = jax.ShapeDtypeStruct((2, detector.size, detector.size, 3), jnp.float32)
    >>> jax.eval_shape(detector.scores, detector.variables, images).shape
    (2, 3549)

  Args:
    name: one of `NAMES`.
    folder: a folder with its weights, or the file; None: where `weights.py` says.
    form: where its convolutions stand, see `vita_jax.nn.conv`: "top" is faster outside of loops on the CPU.

  Raises:
    FileNotFoundError: no weights.
    ValueError: an unknown name, a damaged file, or the weights of another network.
  """
  kind = KINDS[choose("detector", name, NAMES)]
  module = kind.module(form=form)
  found = weights.find(name, folder, kind.published, kind.read)
  params = weights.fitted(name, found, weights.shapes_of(module, kind.size))
  return Detector(
    name,
    kind.size,
    {"params": params},
    functools.partial(_scores, name, module),
    functools.partial(_detect, name, module),
  )


def prepare(name: str, folder: Path) -> Path:
  """Converts the published weights of a detector under $VITA_DATA_DIR to `folder`/params.safetensors.

  Raises:
    FileNotFoundError, ValueError: they are not there, or not what they should be.
  """
  kind = KINDS[choose("detector", name, NAMES)]
  params = kind.read(weights.published_file(name, kind.published))
  weights.fitted(name, params, weights.shapes_of(kind.module(), kind.size))
  return weights.write(params, folder)


def _scores(name: str, module: Any, variables: Any, images: jax.Array) -> jax.Array:
  return KINDS[name].scores(module.apply(variables, _checked(name, images)))


def _detect(name: str, module: Any, variables: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
  outputs = module.apply(variables, _checked(name, images))
  return KINDS[name].scores(outputs), KINDS[name].boxes(outputs)


def _checked(name: str, images: jax.Array) -> jax.Array:
  size = KINDS[name].size
  if images.ndim != 4 or images.shape[1:] != (size, size, 3):
    raise ValueError(f"{name} takes images [n, {size}, {size}, 3], not {images.shape}: resize them first")
  if not jnp.issubdtype(images.dtype, jnp.floating):
    raise ValueError(f"{name} takes floating images in [0, 1], not {images.dtype}: divide by 255 first")
  return images


def _from_tfjs(params_of_graph: Callable[[OpGraph], dict[str, Any]], path: Path) -> dict[str, Any]:
  return params_of_graph(read_tfjs(path))


def _ssd(path: Path) -> dict[str, Any]:
  return ssd.params_of_graph(read_tflite(path))


def _yolov2(reorg: str) -> Kind:
  make = functools.partial(yolo.YoloV2, reorg=reorg)
  read = functools.partial(yolo.read_weights, make())
  return Kind(yolo.SIZE, make, yolo.person_scores_2, yolo.boxes_2, "yolov2.weights", read)


def _movenet(size: int, file: str) -> Kind:
  return Kind(
    size,
    functools.partial(movenet.MoveNet, movenet.WIDTHS[size]),
    movenet.person_scores,
    movenet.boxes,
    file,
    functools.partial(_from_tfjs, movenet.params_of_graph),
  )


KINDS: Mapping[str, Kind] = {
  "movenet_lightning": _movenet(movenet.LIGHTNING, "movenet-lightning.json"),
  "movenet_thunder": _movenet(movenet.THUNDER, "movenet-thunder.json"),
  "nanodet": Kind(
    nanodet.SIZE,
    nanodet.NanoDet,
    nanodet.person_scores,
    nanodet.boxes,
    "nanodet.json",
    functools.partial(_from_tfjs, nanodet.params_of_graph),
  ),
  "ssd_mobilenetv2": Kind(
    ssd.SIZE,
    ssd.SSDMobileNetV2,
    ssd.person_scores,
    ssd.boxes,
    "ssd_mobilenetv2_oidv4_fp16.tflite",
    _ssd,
  ),
  "yolov2": _yolov2("space_to_depth"),
  "yolov2_darknet": _yolov2("darknet"),
  "yolov3": Kind(
    yolo.SIZE,
    yolo.YoloV3,
    yolo.person_scores_3,
    yolo.boxes_3,
    "yolov3.weights",
    functools.partial(yolo.read_weights, yolo.YoloV3()),
  ),
}
NAMES = tuple(sorted(KINDS))
