"""ResNet-18, -50, -101 and -152 (He et al., CVPR 2016) as torchvision has them: strides are on 3x3
convolutions.

Weights: any file of torchvision's state dict, converted once:

    net = torchvision.models.resnet101(weights="DEFAULT")
    safetensors.torch.save_file(net.state_dict(), "resnet101.safetensors")
    variables = load("resnet101.safetensors", depth=101)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.data.files import read_safetensors
from vita_jax.nn.conv_norm import ConvNorm
from vita_jax.nn.detectors.weights import fitted
from vita_jax.nn.linear import uniform_fan_in
from vita_jax.nn.pool import max_pool_padded
from vita_jax.nn.torch_weights import Unfolded, linear


class Kind(NamedTuple):
  """Blocks of each of the four stages, and how many times the stage's width a block's output has."""

  blocks: tuple[int, int, int, int]
  expansion: int


KINDS: Mapping[int, Kind] = {
  18: Kind((2, 2, 2, 2), 1),
  50: Kind((3, 4, 6, 3), 4),
  101: Kind((3, 4, 23, 3), 4),
  152: Kind((3, 8, 36, 3), 4),
}
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures, RGB in [0, 1]


class Outputs(NamedTuple):
  """What the network computes.

  Attributes:
    stages: maps of the four stages, [n, h / 4, w / 4, c] to [n, h / 32, w / 32, c].
    features: [n, 512 or 2048], the mean of the last maps over places.
    logits: [n, classes].
  """

  stages: tuple[jax.Array, ...]
  features: jax.Array
  logits: jax.Array


class ResNet(nn.Module):
  """Images [n, h, w, 3], see `preprocessed` -> `Outputs`.

  Batch norms take the running statistics unless `train`: fine-tuning with `train=False` trains their scale
  and shift, and no statistics move. Layers: `stem`, `layer1_0/conv1`, ..., `classifier`.

  Attributes:
    depth: 18, 50, 101 or 152.
    classes: of the last layer; torchvision's weights have 1000.
    width: channels of the first stage; 64 in all published weights.
    form: where the convolutions stand, see `vita_jax.nn.conv`.

  Examples:
    >>> image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    >>> init = ResNet(101, form="native").init_with_output
    >>> outputs, variables = jax.eval_shape(init, jax.random.key(0), image)
    >>> outputs.features.shape, sum(x.size for x in jax.tree.leaves(variables["params"]))
    ((1, 2048), 44549160)
  """

  depth: int = 50
  classes: int = 1000
  width: int = 64
  form: str = "loop"

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> Outputs:
    """`train`: the batch norms take the statistics of the batch, and the running ones move."""
    stages = trunk(images, depth=self.depth, width=self.width, form=self.form, train=train)
    features = jnp.mean(stages[-1], axis=(1, 2))
    uniform = uniform_fan_in(features.shape[-1])
    last = nn.Dense(self.classes, kernel_init=uniform, bias_init=uniform, name="classifier")
    return Outputs(tuple(stages), features, last(features))


def trunk(images: jax.Array, *, depth: int, width: int, form: str, train: bool) -> list[jax.Array]:
  """Computes the maps of the four stages, inside of a compact module, whose layers these become.

  Args:
    images: [n, h, w, 3].
    depth: see `ResNet`.
    width: see `ResNet`.
    form: see `ResNet`.
    train: see `ResNet.__call__`.

  Returns:
    [n, h / 4, w / 4, c] to [n, h / 32, w / 32, c].
  """
  kind = kind_of(depth)
  draw = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
  stem = ConvNorm(width, 7, 2, 3, kernel_init=draw, form=form, name="stem")
  x = max_pool_padded(jax.nn.relu(stem(images, train=train)))
  stages = []
  for stage, blocks in enumerate(kind.blocks):
    for i in range(blocks):
      stride, features = (2 if stage and not i else 1), width * 2**stage
      block = Block(features, kind.expansion, stride, form=form, name=f"layer{stage + 1}_{i}")
      x = block(x, train=train)
    stages.append(x)
  return stages


class Block(nn.Module):
  """A residual block: two 3x3 convolutions, or 1x1, 3x3, 1x1; where shapes differ, x is projected.

  Attributes:
    width: channels of the 3x3 convolution.
    expansion: the output has so many times as many; 1: the block without 1x1 convolutions.
    stride: of the (first) 3x3 convolution.
    form: as in `ResNet`.
    kernel_init: of its kernels; None: He's normal one, of the outputs.
  """

  width: int
  expansion: int
  stride: int
  form: str = "loop"
  kernel_init: Callable[..., jax.Array] | None = None

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
    outputs = self.width * self.expansion
    if self.expansion == 1:
      layers = [(self.width, 3, self.stride), (outputs, 3, 1)]
    else:
      layers = [(self.width, 1, 1), (self.width, 3, self.stride), (outputs, 1, 1)]
    y = x
    for i, (features, size, stride) in enumerate(layers, start=1):
      y = jax.nn.relu(y) if i > 1 else y
      y = self._layer(features, size, stride, f"conv{i}")(y, train=train)
    if self.stride > 1 or x.shape[-1] != outputs:
      x = self._layer(outputs, 1, self.stride, "downsample")(x, train=train)
    return jax.nn.relu(x + y)

  def _layer(self, features: int, size: int, stride: int, name: str) -> ConvNorm:
    draw = self.kernel_init or nn.initializers.variance_scaling(2.0, "fan_out", "normal")
    return ConvNorm(features, size, stride, size // 2, kernel_init=draw, form=self.form, name=name)


def kind_of(depth: int) -> Kind:
  """Returns the blocks of a depth.

  Raises:
    ValueError: there is no such network here.
  """
  if depth not in KINDS:
    raise ValueError(f"depth is {depth}: choose one of {', '.join(map(str, KINDS))}")
  return KINDS[depth]


def preprocessed(images: jax.Array) -> jax.Array:
  """Returns RGB images in [0, 1] as torchvision's networks take them: less `MEAN`, by `DEVIATION`."""
  return (images - jnp.asarray(MEAN, images.dtype)) / jnp.asarray(DEVIATION, images.dtype)


def variables_of_torchvision(arrays: Mapping[str, np.ndarray], *, depth: int) -> dict[str, Any]:
  """Takes the variables {"params": ..., "batch_stats": ...}, float32, from torchvision's names and layouts.

  Raises:
    ValueError: an unknown depth, or a tensor that is missing: of another depth.
  """
  found = Unfolded(arrays).variables(layer_names(depth))
  return {**found, "params": {**found["params"], "classifier": linear(arrays, "fc")}}


def layer_names(depth: int) -> dict[str, tuple[str, str]]:
  """Returns for each layer of `trunk` the names of convolution and batch norm in torchvision's state dict.

  Raises:
    ValueError: an unknown depth.
  """
  kind = kind_of(depth)
  layers = {"stem": ("conv1", "bn1")}
  for stage, blocks in enumerate(kind.blocks, start=1):
    for i in range(blocks):
      ours, theirs = f"layer{stage}_{i}", f"layer{stage}.{i}"
      for j in range(1, 4 if kind.expansion > 1 else 3):
        layers[f"{ours}/conv{j}"] = (f"{theirs}.conv{j}", f"{theirs}.bn{j}")
      if i == 0 and (stage > 1 or kind.expansion > 1):
        layers[f"{ours}/downsample"] = (f"{theirs}.downsample.0", f"{theirs}.downsample.1")
  return layers


def load(path: str | os.PathLike, *, depth: int, classes: int = 1000) -> dict[str, Any]:
  """Reads the variables of `ResNet(depth, classes)` from a safetensors file of torchvision's state dict.

  Raises:
    FileNotFoundError: no such file.
    ValueError: a damaged file, or the weights of another network.
  """
  found = variables_of_torchvision(read_safetensors(path), depth=depth)
  image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
  shapes = jax.eval_shape(ResNet(depth, classes, form="native").init, jax.random.key(0), image)
  return fitted(f"resnet{depth}", found, shapes)
