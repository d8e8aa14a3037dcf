"""EfficientNet-Lite0 with batch norm folded into the convolutions: inverted residuals, no squeeze-excitation.

EfficientNet: Tan and Le, ICML 2019. The Lite variants are Google's own (2020, the TPU repository of
TensorFlow): ReLU6 in place of swish, no squeeze-excitation, fixed stem and head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.nn.mobilenet import InvertedResidual, conv, relu6
from vita_jax.nn.torch_weights import Folded, linear

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
EPSILON = 1e-3  # of the batch norms that were folded


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


class EfficientNetLite0(nn.Module):
  """Images [n, h, w, 3], (byte - 127) / 128, trained at 224 x 224 -> `Outputs`; padding is "SAME".

  Attributes:
    form: where the convolutions stand, see `vita_jax.nn.conv`.

  Examples:
    >>> image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    >>> module = EfficientNetLite0(form="native")
    >>> outputs, _ = jax.eval_shape(module.init_with_output, jax.random.key(0), image)
    >>> outputs.blocks[-1].shape, outputs.logits.shape
    ((1, 2, 2, 320), (1, 1000))
  """

  form: str = "loop"

  @nn.compact
  def __call__(self, images: jax.Array) -> Outputs:
    x = relu6(conv(STEM, 3, 2, form=self.form, name="stem")(images))
    blocks: list[jax.Array] = []
    for size, stride, expansion, features, repeats in GROUPS:
      for i in range(repeats):
        name, first = f"block_{len(blocks)}", stride if i == 0 else 1
        x, _ = InvertedResidual(features, expansion, first, form=self.form, size=size, name=name)(x)
        blocks.append(x)
    last = relu6(conv(LAST, 1, form=self.form, name="last")(x))
    logits = nn.Dense(CLASSES, name="classifier")(jnp.mean(last, axis=(1, 2)))
    return Outputs(tuple(blocks), last, logits)


def preprocessed(images: jax.Array) -> jax.Array:
  """Returns images in [0, 1] as the network takes them: (255 x - 127) / 128."""
  return (255.0 * images - 127.0) / 128.0


def params_of_torch(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Takes the parameters from a torch state dict of lukemelas/EfficientNet-PyTorch's names, as NumPy arrays.

  Raises:
    ValueError: a tensor that is missing. (Shapes are checked by `nn.features.load`.)
  """
  fold = Folded(arrays, EPSILON)
  params: dict[str, Any] = {"stem": fold("_conv_stem", "_bn0"), "last": fold("_conv_head", "_bn1")}
  count = 0
  for _, _, expansion, _, repeats in GROUPS:
    for _ in range(repeats):
      block = {
        "depthwise": fold(f"_blocks.{count}._depthwise_conv", f"_blocks.{count}._bn1"),
        "project": fold(f"_blocks.{count}._project_conv", f"_blocks.{count}._bn2"),
      }
      if expansion > 1:
        block["expand"] = fold(f"_blocks.{count}._expand_conv", f"_blocks.{count}._bn0")
      params[f"block_{count}"] = block
      count += 1
  return {**params, "classifier": linear(arrays, "_fc")}
