"""EfficientNet-Lite0: inverted residuals, no squeeze-excitation, batch norms folded or to be trained.

EfficientNet: Tan and Le, ICML 2019. The Lite variants are Google's own (2020, the TPU repository of
TensorFlow): ReLU6 in place of swish, no squeeze-excitation, fixed stem and head.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from vita_jax.base.choose import choose
from vita_jax.nn.mobilenet import InvertedResidual, Norm, conv, relu6
from vita_jax.nn.torch_weights import Folded, Unfolded, linear

# (kernel, stride of the first, expansion, features, repeats) of each group of blocks.
GROUPS = (
  (3, 1, 1, 16, 1),
  (3, 2, 6, 24, 2),
  (5, 2, 6, 40, 2),
  (3, 2, 6, 80, 3),
  (5, 1, 6, 112, 3),
  (5, 2, 6, 192, 4),
  (3, 1, 6, 320, 1),
)
STEM, LAST, CLASSES = 32, 1280, 1000
LEVELS = ("block_0", "block_2", "block_4", "block_10", "block_15")  # the last block of strides 2, 4, ..., 32
EPSILON = 1e-3  # of the batch norms
NORMS = ("folded", "batch")


class Outputs(NamedTuple):
  """What the network computes.

  Attributes:
    blocks: what each of the 16 blocks returns, [n, h, w, c]: linear, without ReLU6.
    last: [n, h / 32, w / 32, 1280].
    logits: [n, 1000], of the classes of ImageNet-1k.
  """

  blocks: tuple[jax.Array, ...]
  last: jax.Array
  logits: jax.Array

  @property
  def features(self) -> jax.Array:
    """[n, 1280], the mean of `last` over places: what the logits are computed from."""
    return jnp.mean(self.last, axis=(1, 2))


class EfficientNetLite0(nn.Module):
  """Images [n, h, w, 3], (byte - 127) / 128, trained at 224 x 224 -> `Outputs`; padding is "SAME".

  Attributes:
    form: where the convolutions stand, see `vita_jax.nn.conv`.
    norm: "folded": into the convolutions, each with a bias, for a network that is only read. "batch": apart,
      with scale and shift to be trained, see `vita_jax.nn.conv_norm`; variables `params` and `batch_stats`.

  Examples:
    >>> image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    >>> module = EfficientNetLite0(form="native")
    >>> outputs, _ = jax.eval_shape(module.init_with_output, jax.random.key(0), image)
    >>> outputs.blocks[-1].shape, outputs.logits.shape
    ((1, 2, 2, 320), (1, 1000))
  """

  form: str = "loop"
  norm: str = "folded"

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> Outputs:
    """`train`: the batch norms take the statistics of the batch, and the running ones move."""
    if choose("norm", self.norm, NORMS) == "folded" and train:
      raise ValueError("the batch norms are folded and have no statistics to train: norm='batch'")
    norm = Norm(EPSILON) if self.norm == "batch" else None
    layer = functools.partial(conv, form=self.form, norm=norm, train=train)
    x = relu6(layer(STEM, 3, 2, name="stem")(images))
    blocks: list[jax.Array] = []
    for size, stride, expansion, features, repeats in GROUPS:
      for i in range(repeats):
        name, first = f"block_{len(blocks)}", stride if i == 0 else 1
        block = InvertedResidual(features, expansion, first, form=self.form, size=size, norm=norm, name=name)
        x, _ = block(x, train=train)
        blocks.append(x)
    last = relu6(layer(LAST, 1, name="last")(x))
    logits = nn.Dense(CLASSES, name="classifier")(jnp.mean(last, axis=(1, 2)))
    return Outputs(tuple(blocks), last, logits)


def preprocessed(images: jax.Array) -> jax.Array:
  """Returns images in [0, 1] as the network takes them: (255 x - 127) / 128."""
  return (255.0 * images - 127.0) / 128.0


def params_of_torch(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Takes the folded parameters from a torch state dict of lukemelas/EfficientNet-PyTorch's names.

  Raises:
    ValueError: a tensor that is missing. (Shapes are checked by `nn.features.load`.)
  """
  fold = Folded(arrays, EPSILON)
  params = {path: fold(*names) for path, names in _layers().items()}
  return {**unflatten_dict(params, sep="/"), "classifier": linear(arrays, "_fc")}


def variables_of_torch(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Takes the variables of `norm="batch"`, {"params": ..., "batch_stats": ...}, float32, from the same dict.

  Of the published weights: `variables_of_torch(features.published_arrays("efficientnet_lite0"))`.

  Raises:
    ValueError: a tensor that is missing.
  """
  found = Unfolded(arrays).variables(_layers())
  return {**found, "params": {**found["params"], "classifier": linear(arrays, "_fc")}}


def _layers() -> dict[str, tuple[str, str]]:
  """Our path -> torch's names of the convolution and of its batch norm."""
  found = {"stem": ("_conv_stem", "_bn0"), "last": ("_conv_head", "_bn1")}
  count = 0
  for _, _, expansion, _, repeats in GROUPS:
    for _ in range(repeats):
      ours, theirs = f"block_{count}", f"_blocks.{count}"
      if expansion > 1:
        found[f"{ours}/expand"] = (f"{theirs}._expand_conv", f"{theirs}._bn0")
      found[f"{ours}/depthwise"] = (f"{theirs}._depthwise_conv", f"{theirs}._bn1")
      found[f"{ours}/project"] = (f"{theirs}._project_conv", f"{theirs}._bn2")
      count += 1
  return found
