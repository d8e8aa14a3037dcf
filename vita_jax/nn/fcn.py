"""FCN-8s "at once" (Long, Shelhamer and Darrell, CVPR 2015) on VGG-16, and the classifier that teaches it.

Every pixel gets logits. The first convolution pads 100 zeros, pools take the last, cut windows along, and the
crops are those of the original: 5, 9 and 31 places. With the full widths it has 134 million weights. The
dropout after fc6 and fc7 is left out: "Automated Synthetic-to-Real Generalization" (ICML 2020) trains in
inference mode.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.data.files import read_safetensors
from vita_jax.nn.conv import Conv, ConvTranspose
from vita_jax.nn.detectors.weights import fitted
from vita_jax.nn.pool import adaptive_average_pool, max_pool_ceil
from vita_jax.nn.torch_weights import channels_last, linear, tensor
from vita_jax.nn.vgg import WIDTHS

PADDING = 100  # of the first convolution
POOLED = 7  # the classifier sees [7, 7] places
CROPS = {"pool4": 5, "pool3": 9, "image": 31}
SCALES = (0.01, 0.0001)  # of pool4 and pool3 before they are scored: for VGG-16's large values
HE, ZEROS = nn.initializers.variance_scaling(2.0, "fan_in", "normal"), nn.initializers.zeros
Widths = tuple[tuple[int, ...], ...]


class Pools(NamedTuple):
  """Maps after the last three pools, [n, h, w, c]: of about 1/8, 1/16 and 1/32 of the padded image."""

  pool3: jax.Array
  pool4: jax.Array
  pool5: jax.Array


class Outputs(NamedTuple):
  """What FCN-8s computes.

  Attributes:
    logits: [n, h, w, classes], of every pixel.
    pool5: [n, h', w', 512]: what `Classifier` sees, for a proxy of the image's old logits.
  """

  logits: jax.Array
  pool5: jax.Array


class Trunk(nn.Module):
  """VGG-16's convolutions `conv1_1`, ..., `conv5_3`: images [n, h, w, 3] -> `Pools`.

  Attributes:
    widths: channels of the convolutions of each of five stages.
    form: where the convolutions stand, see `vita_jax.nn.conv`.
  """

  widths: Widths = WIDTHS
  form: str = "loop"

  @nn.compact
  def __call__(self, images: jax.Array) -> Pools:
    x, pools = images, []
    for stage, widths in enumerate(self.widths, start=1):
      for i, width in enumerate(widths, start=1):
        padding = PADDING if (stage, i) == (1, 1) else 1
        name = f"conv{stage}_{i}"
        x = Conv(width, 3, padding=padding, kernel_init=HE, bias_init=ZEROS, form=self.form, name=name)(x)
        x = jax.nn.relu(x)
      x = max_pool_ceil(x)
      pools.append(x)
    return Pools(*pools[-3:])


class Classifier(nn.Module):
  """VGG-16's three linear layers, on the student's or the teacher's maps alike: pool5 -> logits [n, classes].

  Maps of any size are first averaged to [7, 7] places (torch's adaptive average pool).

  Attributes:
    classes: of the old task.
    hidden: width of the first two layers.
  """

  classes: int = 1000
  hidden: int = 4096

  @nn.compact
  def __call__(self, pool5: jax.Array) -> jax.Array:
    x = adaptive_average_pool(pool5, POOLED)
    x = x.reshape(x.shape[0], -1)
    for name in ("fc6", "fc7"):
      x = jax.nn.relu(nn.Dense(self.hidden, name=name)(x))
    return nn.Dense(self.classes, name="fc8")(x)


class FCN8s(nn.Module):
  """Images [n, h, w, 3] of any size, see `vita_jax.nn.resnet.preprocessed` -> `Outputs`.

  Layers: `trunk/conv1_1`, ..., `fc6`, `fc7`; `score_fr`, `score_pool4`, `score_pool3`, zero at first;
  `upscore2`, `upscore_pool4`, `upscore8`, bilinear at first and trained like the rest.

  Attributes:
    classes: of the new task.
    widths, form: as in `Trunk`.
    hidden: width of fc6 and fc7.
    scales: of the maps of pool4 and pool3, before they are scored.

  Examples:
    >>> image = jax.ShapeDtypeStruct((1, 48, 64, 3), jnp.float32)
    >>> module = FCN8s(19, widths=((4,),) * 5, hidden=8, form="native")
    >>> outputs, _ = jax.eval_shape(module.init_with_output, jax.random.key(0), image)
    >>> outputs.logits.shape, outputs.pool5.shape
    ((1, 48, 64, 19), (1, 8, 9, 4))
  """

  classes: int
  widths: Widths = WIDTHS
  hidden: int = 4096
  scales: tuple[float, float] = SCALES
  form: str = "loop"

  @nn.compact
  def __call__(self, images: jax.Array) -> Outputs:
    pools = Trunk(self.widths, self.form, name="trunk")(images)
    x = pools.pool5
    for name, size in (("fc6", POOLED), ("fc7", 1)):
      x = jax.nn.relu(Conv(self.hidden, size, form=self.form, name=name)(x))
    x = self._up("upscore2", 4, 2)(self._score("score_fr")(x))
    x = x + _cropped(self._score("score_pool4")(self.scales[0] * pools.pool4), CROPS["pool4"], x)
    x = self._up("upscore_pool4", 4, 2)(x)
    x = x + _cropped(self._score("score_pool3")(self.scales[1] * pools.pool3), CROPS["pool3"], x)
    x = self._up("upscore8", 16, 8)(x)
    return Outputs(_cropped(x, CROPS["image"], images), pools.pool5)

  def _score(self, name: str) -> Conv:
    return Conv(self.classes, 1, kernel_init=ZEROS, bias_init=ZEROS, form=self.form, name=name)

  def _up(self, name: str, size: int, stride: int) -> ConvTranspose:
    return ConvTranspose(
      self.classes, size, stride, use_bias=False, kernel_init=bilinear, form=self.form, name=name
    )


def bilinear(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
  """Gives the kernel [size, size, channels, channels] that doubles, or more, each channel by interpolation.

  An initializer; the key is not used. With a stride of half its size a constant image stays constant, its
  border left out.

  Examples:
    >>> bilinear(jax.random.key(0), (4, 4, 1, 1))[:, 1, 0, 0].tolist()
    [0.1875, 0.5625, 0.5625, 0.1875]
  """
  del key
  size = shape[0]
  factor = (size + 1) // 2
  centre = factor - 1 if size % 2 else factor - 0.5
  row = 1 - np.abs(np.arange(size) - centre) / factor
  return jnp.asarray(np.outer(row, row)[:, :, None, None] * np.eye(shape[2], shape[3]), dtype)


def _cropped(x: jax.Array, offset: int, like: jax.Array) -> jax.Array:
  return x[:, offset : offset + like.shape[1], offset : offset + like.shape[2]]


def variables_of_torchvision(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Takes {"trunk": ..., "classifier": ...}, variables of `Trunk` and `Classifier`, from torchvision's vgg16.

  Raises:
    ValueError: a tensor that is missing.
  """
  trunk, place = {}, 0
  for stage, widths in enumerate(WIDTHS, start=1):
    for i in range(1, len(widths) + 1):
      kernel = channels_last(tensor(arrays, f"features.{place}.weight"))
      bias = tensor(arrays, f"features.{place}.bias")
      trunk[f"conv{stage}_{i}"] = {"kernel": np.float32(kernel), "bias": np.float32(bias)}
      place += 2
    place += 1
  layers = {f"fc{6 + i}": linear(arrays, f"classifier.{3 * i}") for i in range(3)}
  kernel = layers["fc6"]["kernel"]  # torch flattens channels first
  channels = kernel.shape[0] // POOLED**2
  by_place = kernel.reshape(channels, POOLED, POOLED, -1).transpose(1, 2, 0, 3)
  layers["fc6"] = {**layers["fc6"], "kernel": by_place.reshape(kernel.shape)}
  return {"trunk": {"params": trunk}, "classifier": {"params": layers}}


def with_pretrained(params: Mapping[str, Any], pretrained: Mapping[str, Any]) -> dict[str, Any]:
  """Returns parameters of `FCN8s` that begin at a classifier: its trunk, and fc6 and fc7 as convolutions.

  Args:
    params: of `FCN8s`, fresh; its scores and upsampling stay.
    pretrained: as `variables_of_torchvision` gives it.

  Raises:
    ValueError: another network's.
  """
  layers = pretrained["classifier"]["params"]
  wide = layers["fc6"]["kernel"]
  fc6 = {**layers["fc6"], "kernel": wide.reshape(POOLED, POOLED, -1, wide.shape[-1])}
  fc7 = {**layers["fc7"], "kernel": layers["fc7"]["kernel"][None, None]}
  new = {**params, "trunk": pretrained["trunk"]["params"], "fc6": fc6, "fc7": fc7}
  return fitted("FCN8s", new, params)


def load_vgg16(path: str | os.PathLike) -> dict[str, Any]:
  """Reads {"trunk": ..., "classifier": ...} from a safetensors file of torchvision's vgg16 state dict.

  Raises:
    FileNotFoundError: no such file.
    ValueError: a damaged file, or the weights of another network.
  """
  found = variables_of_torchvision(read_safetensors(path))
  shapes = jax.eval_shape(_init_both, jax.random.key(0))
  return {name: fitted("vgg16", found[name], shapes[name]) for name in shapes}


def _init_both(key: jax.Array) -> dict[str, Any]:
  image, pool5 = jnp.zeros((1, 32, 32, 3)), jnp.zeros((1, POOLED, POOLED, WIDTHS[-1][-1]))
  return {"trunk": Trunk(form="native").init(key, image), "classifier": Classifier().init(key, pool5)}
