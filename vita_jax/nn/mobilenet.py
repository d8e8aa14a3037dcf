"""MobileNetV2 (Sandler et al., CVPR 2018, table 2) with batch norm folded into the convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.base.choose import hint
from vita_jax.nn.channels import ChannelGroup, Graph, Slice
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
    inner: channels after the expansion of each of the 16 blocks that have one; (): six times its input.
  """

  width: float = 1.0
  form: str = "loop"
  inner: tuple[int, ...] = ()

  def channel_graph(self) -> Graph:
    """Lists the groups of channels inside the blocks, "block_1" to "block_16"; they have no gamma."""
    return tuple(
      ChannelGroup(
        name,
        None,
        None,
        (
          Slice(f"{name}/expand/kernel", 3),
          Slice(f"{name}/expand/bias", 0),
          Slice(f"{name}/depthwise/kernel", 3),
          Slice(f"{name}/depthwise/bias", 0),
          Slice(f"{name}/project/kernel", 2),
        ),
      )
      for name in expanding()
    )

  def resized(self, counts: Mapping[str, int]) -> MobileNetV2:
    """Returns the network with other numbers of channels inside its blocks, by the names of the groups."""
    names = expanding()
    for name in counts:
      if name not in names:
        raise ValueError(f"the network has no channels '{name}'{hint(name, names)}")
    inner = self.inner or expansions(self.width)
    return self.clone(inner=tuple(counts.get(name, n) for name, n in zip(names, inner, strict=True)))

  @nn.compact
  def __call__(self, images: jax.Array) -> Maps:
    inners = iter(self.inner or expansions(self.width))
    x = relu6(conv(rounded(32 * self.width), 3, 2, form=self.form, name="stem")(images))
    blocks: list[jax.Array] = []
    expanded: list[jax.Array] = []
    for expansion, features, repeats, stride in GROUPS:
      for i in range(repeats):
        block = InvertedResidual(
          rounded(features * self.width),
          expansion,
          stride if i == 0 else 1,
          next(inners) if expansion > 1 else 0,
          form=self.form,
          name=f"block_{len(blocks)}",
        )
        x, inner = block(x)
        blocks.append(x)
        expanded.append(inner)
    last = relu6(conv(LAST, 1, form=self.form, name="last")(x))
    return Maps(tuple(blocks), tuple(expanded), last)


class InvertedResidual(nn.Module):
  """Expands, convolves every channel by itself, projects, adds x where it fits: x -> (y, expanded maps).

  `width` is the number of channels after the expansion; 0: `expansion` times those of x.
  """

  features: int
  expansion: int
  stride: int
  width: int = 0
  form: str = "loop"

  @nn.compact
  def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    inner = x
    if self.expansion > 1:
      inner = relu6(conv(self.width or self.expansion * x.shape[-1], 1, form=self.form, name="expand")(x))
    y = relu6(depthwise(inner, 3, self.stride, form=self.form, name="depthwise"))
    y = conv(self.features, 1, form=self.form, name="project")(y)
    return (x + y if y.shape == x.shape else y), inner


def expansions(width: float = 1.0) -> tuple[int, ...]:
  """Returns the channels after the expansion of each block that has one: six times the block's input.

  Examples:
    >>> expansions()[:4]
    (96, 144, 144, 192)
  """
  found, inputs = [], rounded(32 * width)
  for expansion, features, repeats, _ in GROUPS:
    for _ in range(repeats):
      if expansion > 1:
        found.append(expansion * inputs)
      inputs = rounded(features * width)
  return tuple(found)


def expanding() -> list[str]:
  """Lists the names of the blocks that expand."""
  return [name.removesuffix("/expand") for name in layer_names() if name.endswith("/expand")]


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
