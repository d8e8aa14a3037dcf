"""MobileNetV2 (Sandler et al., CVPR 2018, table 2) with batch norm folded into the convolutions."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.nn.conv import Conv

# (expansion, features, repeats, stride of the first) of each group of blocks.
GROUPS = (
  (1, 16, 1, 1),
  (6, 24, 2, 2),
  (6, 32, 3, 2),
  (6, 64, 4, 2),
  (6, 96, 3, 1),
  (6, 160, 3, 2),
  (6, 320, 1, 1),
)
LAST = 1280


class Maps(NamedTuple):
  """Feature maps.

  Attributes:
    blocks: what each of the 17 blocks returns, [n, h, w, c].
    expanded: the maps within each block after its expansion, those of the first block are its input.
    last: [n, h, w, 1280].
  """

  blocks: tuple[jax.Array, ...]
  expanded: tuple[jax.Array, ...]
  last: jax.Array


class MobileNetV2(nn.Module):
  """Images [n, h, w, 3] -> `Maps`; padding is TensorFlow's "SAME".

  Attributes:
    width: multiplies the numbers of channels, each rounded to a multiple of 8; the last stays 1,280.
    form: where the convolutions stand, see `vita_jax.nn.conv`.
  """

  width: float = 1.0
  form: str = "loop"

  @nn.compact
  def __call__(self, images: jax.Array) -> Maps:
    x = relu6(conv(rounded(32 * self.width), 3, 2, form=self.form, name="stem")(images))
    blocks: list[jax.Array] = []
    expanded: list[jax.Array] = []
    for expansion, features, repeats, stride in GROUPS:
      for i in range(repeats):
        block = InvertedResidual(
          rounded(features * self.width),
          expansion,
          stride if i == 0 else 1,
          form=self.form,
          name=f"block_{len(blocks)}",
        )
        x, inner = block(x)
        blocks.append(x)
        expanded.append(inner)
    last = relu6(conv(LAST, 1, form=self.form, name="last")(x))
    return Maps(tuple(blocks), tuple(expanded), last)


class InvertedResidual(nn.Module):
  """Expands, convolves every channel by itself, projects, adds x where it fits: x -> (y, expanded maps)."""

  features: int
  expansion: int
  stride: int
  form: str = "loop"

  @nn.compact
  def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    inner = x
    if self.expansion > 1:
      inner = relu6(conv(self.expansion * x.shape[-1], 1, form=self.form, name="expand")(x))
    y = relu6(depthwise(inner, 3, self.stride, form=self.form, name="depthwise"))
    y = conv(self.features, 1, form=self.form, name="project")(y)
    return (x + y if y.shape == x.shape else y), inner


def conv(features: int, size: int, stride: int = 1, *, form: str, name: str) -> Conv:
  """Returns a convolution with TensorFlow's "SAME" padding."""
  return Conv(features, size, stride, "SAME", form=form, name=name)


def depthwise(
  x: jax.Array, size: int, stride: int = 1, *, form: str, name: str, use_bias: bool = True
) -> jax.Array:
  """Convolves every channel by itself, as a submodule of the module that calls it."""
  channels = x.shape[-1]
  layer = Conv(channels, size, stride, "SAME", groups=channels, use_bias=use_bias, form=form, name=name)
  return layer(x)


def relu6(x: jax.Array) -> jax.Array:
  """Clips to [0, 6]: min(max(x, 0), 6)."""
  return jnp.clip(x, 0.0, 6.0)


def rounded(channels: float) -> int:
  """Rounds to a multiple of 8, at least 8 and at least 90 % of the number.

  Examples:
    >>> [rounded(n) for n in (28.0, 56.0, 5.0)]
    [32, 56, 8]
  """
  nearest = max(8, int(channels + 4) // 8 * 8)
  return nearest + 8 if nearest < 0.9 * channels else nearest


def layer_names() -> list[str]:
  """Lists the '/'-joined names of the layers in the order in which they are computed."""
  names = ["stem"]
  count = 0
  for expansion, _, repeats, _ in GROUPS:
    for _ in range(repeats):
      parts = ("expand", "depthwise", "project") if expansion > 1 else ("depthwise", "project")
      names += [f"block_{count}/{part}" for part in parts]
      count += 1
  return [*names, "last"]
