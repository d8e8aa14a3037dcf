"""Networks whose features pictures are compared by: `load("efficientnet_lite0")`.

A pyramid of maps is for perceptual losses, the pooled vector for distances of sets of pictures. Each network
has its true name, and its numbers are named after it: `frechet_mobilenet_v2` is no FID. "random" is a
pyramid with random weights, for smoke tests; it is never taken in place of another.

None ships with the package. A file is looked for where the caller says, else under $VITA_DATA_DIR.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.choose import choose
from vita_jax.data.files import read_npz, read_safetensors
from vita_jax.data.sources import SOURCES, missing, source_files
from vita_jax.nn import efficientnet, mobilenet, vgg
from vita_jax.nn.conv import Conv
from vita_jax.nn.detectors.weights import fitted, shapes_of

RANDOM = "random"
LEAST = 64  # pixels of a side


class Features(NamedTuple):
  """What a network sees in pictures.

  Attributes:
    maps: layer -> [n, h, w, c], the finest first.
    pooled: [n, d], the mean over places of the last map.
  """

  maps: dict[str, jax.Array]
  pooled: jax.Array


class FeatureNet(NamedTuple):
  """A network of features, frozen.

  Attributes:
    name: as `load` takes it.
    variables: its weights, float32; passed to `apply`.
    apply: `apply(variables, images) -> Features`: images [n, h, w, 3], RGB, floating, in [0, 1]; how they are
      preprocessed is in the card. Differentiable. What of it is not used, is not computed under jit.
    layers: one layer for each halving of the picture, the finest first: a choice for perceptual losses.
    width: d, the length of the pooled vector.
    card: what it is, was trained on, takes, and under which licence: plain values.
  """

  name: str
  variables: Any
  apply: Callable[[Any, jax.Array], Features]
  layers: tuple[str, ...]
  width: int
  card: dict[str, Any]


class Kind(NamedTuple):
  """What a feature network is made of.

  Attributes:
    module: `module(form=form)` -> the network.
    features: outputs of the module -> `Features`.
    preprocess: images in [0, 1] -> what the module takes.
    params: arrays of the published file -> parameters.
    layers, width, card: as in `FeatureNet`; the card without name and files.
  """

  module: Callable[..., Any]
  features: Callable[[Any], Features]
  preprocess: Callable[[jax.Array], jax.Array]
  params: Callable[[Mapping[str, np.ndarray]], dict[str, Any]]
  layers: tuple[str, ...]
  width: int
  card: Mapping[str, Any]


def load(
  name: str, path: str | os.PathLike | None = None, *, size: int | None = None, form: str = "loop"
) -> FeatureNet:
  """Loads a feature network with its preprocessing.

  Examples:
    >>> net = load("random")
    >>> found = net.apply(net.variables, jnp.zeros((2, 32, 32, 3)))
    >>> found.pooled.shape, net.card["trained on"]
    ((2, 64), 'nothing: random weights, for smoke tests')

  Args:
    name: one of `NAMES`.
    path: a file of its weights, npz as published or safetensors; None: $VITA_DATA_DIR.
    size: images are first resized to [size, size], bilinear with antialiasing; None: they are taken as they
      come. The trunks for ImageNet were trained at 224.
    form: where its convolutions stand, see `vita_jax.nn.conv`: "top" is faster outside of loops on the CPU.

  Raises:
    FileNotFoundError: no weights.
    ValueError: an unknown name, a damaged file, or the weights of another network.
  """
  kind = KINDS[choose("feature network", name, NAMES)]
  module = kind.module(form=form)
  files: Mapping[str, str] = {}
  if name == RANDOM:
    draw = jax.jit(kind.module(form="native").init)
    params = draw(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))["params"]
  else:
    files = SOURCES[source_name(name)].files if path is None else {}
    arrays = published_arrays(name, path)
    nested = kind.params(arrays) if _is_published(path) else arrays
    params = fitted(name, nested, shapes_of(kind.module(form="native"), 64))  # the form that traces fastest
  card = {"name": name, **kind.card, "layers": list(kind.layers), "width": kind.width, "files": dict(files)}
  card["resized to"] = size if size is not None else "as the images come"
  apply = functools.partial(_apply, name, module, size)
  return FeatureNet(name, {"params": params}, apply, kind.layers, kind.width, card)


def load_available(names: tuple[str, ...], *, side: int, form: str = "top") -> list[FeatureNet]:
  """Loads the networks whose weights are there, for a report; a warning names each of the others.

  Pictures whose `side` is below 64 pixels are enlarged to 64 x 64: of smaller ones most features are 0.

  Raises:
    ValueError: see `load`.
  """
  found = []
  for name in names:
    try:
      found.append(load(name, size=LEAST if side < LEAST else None, form=form))
    except FileNotFoundError as error:
      warnings.warn(f"frechet_{name} and kernel_{name} are left out: {error}", stacklevel=2)
  return found


def source_name(name: str) -> str:
  """Returns the name of a feature network in `SOURCES`."""
  return f"features/{name}"


def pooled_features(net: FeatureNet, pictures: Any, *, batch_size: int = 32) -> np.ndarray:
  """Computes the pooled features of many pictures, batch by batch, by one compiled program.

  Where all are 0, a warning says so.

  Args:
    net: from `load`; `form="top"` is the faster one here.
    pictures: [n, h, w, 3], uint8 or floating in [0, 1].
    batch_size: pictures at a time.

  Returns:
    float32 [n, d] of NumPy.

  Raises:
    ValueError: no pictures, or of another shape or dtype.

  Examples:
    >>> pooled_features(load("random"), np.ones((5, 16, 16, 3), np.uint8), batch_size=2).shape
    (5, 64)
  """
  pictures = np.asarray(pictures)
  if pictures.ndim != 4 or not len(pictures):
    raise ValueError(f"pictures must be [n, h, w, 3] with n at least 1, they are {list(pictures.shape)}")
  batch_size, found = min(batch_size, len(pictures)), []
  for start in range(0, len(pictures), batch_size):
    batch = pictures[start : start + batch_size]
    batch = batch.astype(np.float32) / 255 if batch.dtype == np.uint8 else batch
    full = np.concatenate([batch, np.repeat(batch[:1], batch_size - len(batch), axis=0)])
    found.append(np.asarray(_pooled(net.apply, net.variables, full))[: len(batch)])
  features = np.concatenate(found)
  if not features.any():
    height, width = pictures.shape[1:3]
    warnings.warn(
      f"all features of {net.name} are 0 on {height} x {width} pixels: load it with size={LEAST}",
      stacklevel=2,
    )
  return features


@functools.partial(jax.jit, static_argnums=0)
def _pooled(apply: Callable[[Any, jax.Array], Features], variables: Any, images: jax.Array) -> jax.Array:
  return apply(variables, images).pooled


def _apply(name: str, module: Any, size: int | None, variables: Any, images: jax.Array) -> Features:
  if images.ndim != 4 or images.shape[-1] != 3:
    raise ValueError(f"{name} takes images [n, h, w, 3], not {list(images.shape)}")
  if not jnp.issubdtype(images.dtype, jnp.floating):
    raise ValueError(f"{name} takes floating images in [0, 1], not {images.dtype}: divide by 255 first")
  if size is not None:
    shape = (images.shape[0], size, size, 3)
    images = jax.image.resize(images, shape, "bilinear", antialias=True)
  return KINDS[name].features(module.apply(variables, KINDS[name].preprocess(images)))


def published_arrays(name: str, path: str | os.PathLike | None = None) -> dict[str, Any]:
  """Reads the file of a feature network as it is, e.g. by torch's names; arguments, errors as in `load`."""
  if path is not None:
    return read_npz(path) if _is_published(path) else read_safetensors(path)
  source = source_name(name)
  if files := source_files(source):
    return read_npz(next(iter(files.values())))
  raise FileNotFoundError(
    f"no weights of {name}: there is {missing(source)}; put it there, or give load('{name}', 'FILE.npz')"
  )


def _is_published(path: str | os.PathLike | None) -> bool:
  return path is None or Path(path).suffix == ".npz"


def _pooled_mean(x: jax.Array) -> jax.Array:
  return jnp.mean(x, axis=(1, 2))


def _of_blocks(outputs: Any) -> Features:
  """Of a network of blocks and a last map: all of them."""
  maps = {f"block_{i}": x for i, x in enumerate(outputs.blocks)}
  return Features({**maps, "last": outputs.last}, _pooled_mean(outputs.last))


def _of_maps(maps: dict[str, jax.Array]) -> Features:
  """Of a network that returns its maps in order."""
  return Features(maps, _pooled_mean(list(maps.values())[-1]))


def _imagenet(images: jax.Array) -> jax.Array:
  """Less ImageNet's mean, by its deviation, as torchvision has them."""
  mean, deviation = jnp.array([0.485, 0.456, 0.406]), jnp.array([0.229, 0.224, 0.225])
  return (images - mean.astype(images.dtype)) / deviation.astype(images.dtype)


def _centred(images: jax.Array) -> jax.Array:
  return 2.0 * images - 1.0


class RandomPyramid(nn.Module):
  """Images [n, h, w, 3] -> {"level_0": [n, h / 2, w / 2, 16], "level_1": ..., "level_2": ...}."""

  form: str = "loop"

  @nn.compact
  def __call__(self, images: jax.Array) -> dict[str, jax.Array]:
    x, maps, draw = images, {}, nn.initializers.he_normal()
    for i, width in enumerate((16, 32, 64)):
      layer = Conv(width, 3, 2, 1, kernel_init=draw, form=self.form, name=f"conv_{i}")
      x = maps[f"level_{i}"] = jax.nn.relu(layer(x))
    return maps


KINDS: Mapping[str, Kind] = {
  "efficientnet_lite0": Kind(
    efficientnet.EfficientNetLite0,
    _of_blocks,
    efficientnet.preprocessed,
    efficientnet.params_of_torch,
    efficientnet.LEVELS,
    efficientnet.LAST,
    {
      "what": "EfficientNet-Lite0: maps of its 16 blocks, and the last one, whose mean is the vector",
      "trained on": "ImageNet-1k, by its authors",
      "takes": "(255 x - 127) / 128 of RGB x in [0, 1]",
      "weights": 4_652_008,  # as published, running statistics of batch norms left out
      "licence": "Apache-2.0",
    },
  ),
  "hed_vgg16": Kind(
    functools.partial(vgg.VGG16, vgg.HED_STAGES),
    _of_maps,
    vgg.hed_preprocessed,
    vgg.params_of_hed,
    vgg.HED_LEVELS,
    vgg.WIDTHS[vgg.HED_STAGES - 1][-1],
    {
      "what": "VGG-16 to relu3_3, tuned for edges: not ImageNet's VGG-16, whose first layer differs",
      "trained on": "ImageNet-1k, then edges of BSDS500 (HED), by its authors",
      "takes": "255 x of blue, green, red, less 104.00699, 116.66877, 122.67892",
      "weights": 1_735_488,
      "licence": "MIT",
    },
  ),
  "mobilenet_v2": Kind(
    functools.partial(mobilenet.MobileNetV2, padding="symmetric"),
    _of_blocks,
    _imagenet,
    mobilenet.params_of_torch,
    mobilenet.LEVELS,
    mobilenet.LAST,
    {
      "what": "MobileNetV2: maps of its 17 blocks, and the last one, whose mean is the vector",
      "trained on": "ImageNet-1k, by its authors",
      "takes": "RGB x in [0, 1], less 0.485, 0.456, 0.406, by 0.229, 0.224, 0.225",
      "weights": 2_223_872,
      "licence": "MIT",
    },
  ),
  RANDOM: Kind(
    RandomPyramid,
    _of_maps,
    _centred,
    dict,
    ("level_0", "level_1", "level_2"),
    64,
    {
      "what": "three convolutions of stride 2, drawn from a fixed key",
      "trained on": "nothing: random weights, for smoke tests",
      "takes": "2 x - 1 of RGB x in [0, 1]",
      "weights": 23_584,
      "licence": "Apache-2.0",
    },
  ),
}
NAMES = tuple(sorted(KINDS))
