"""MobileNetV2 (Sandler et al., CVPR 2018, table 2) with batch norm folded into the convolutions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.choose import choose, hint
from vita_jax.nn.channels import ChannelGroup, Graph, Slice
from vita_jax.nn.conv import Conv
from vita_jax.nn.conv_norm import ConvNorm
from vita_jax.nn.torch_weights import Folded

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
LEVELS = ("block_0", "block_2", "block_5", "block_12", "block_16")  # the last block of strides 2, 4, ..., 32
TORCH_EPSILON = 1e-5  # of the batch norms that were folded
PADDINGS = ("SAME", "symmetric")


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
  """Images [n, h, w, 3] -> `Maps`.

  Attributes:
    width: multiplies the numbers of channels, each rounded to a multiple of 8; the last stays 1,280.
    form: where the convolutions stand, see `vita_jax.nn.conv`.
    padding: "SAME", TensorFlow's, or "symmetric", torch's: kernel // 2 zeros at both ends. They differ where
      the stride is 2 and the length even.
    inner: channels after the expansion of each of the 16 blocks that have one; (): six times its input.
  """

  width: float = 1.0
  form: str = "loop"
  padding: str = "SAME"
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
    stem = conv(rounded(32 * self.width), 3, 2, form=self.form, padding=self.padding, name="stem")
    x = relu6(stem(images))
    blocks: list[jax.Array] = []
    expanded: list[jax.Array] = []
    for expansion, features, repeats, stride in GROUPS:
      for i in range(repeats):
        block = InvertedResidual(
          rounded(features * self.width),
          expansion,
          stride if i == 0 else 1,
          form=self.form,
          padding=self.padding,
          width=next(inners) if expansion > 1 else 0,
          name=f"block_{len(blocks)}",
        )
        x, inner = block(x)
        blocks.append(x)
        expanded.append(inner)
    last = relu6(conv(LAST, 1, form=self.form, name="last")(x))
    return Maps(tuple(blocks), tuple(expanded), last)


class InvertedResidual(nn.Module):
  """Expands, convolves every channel by itself, projects, adds x where it fits: x -> (y, expanded maps).

  Attributes:
    features: channels of y.
    expansion: times as many channels within; 1: no expansion.
    stride: of the convolution in the middle.
    form, padding: as in `MobileNetV2`.
    size: of the convolution in the middle.
    width: channels after the expansion; 0: `expansion` times those of x.
    norm: of the batch norms after the convolutions; None: they are folded into them.
  """

  features: int
  expansion: int
  stride: int
  form: str = "loop"
  padding: str = "SAME"
  size: int = 3
  width: int = 0
  norm: Norm | None = None

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
    """`train`: the norms take the batch's own statistics; it needs a `norm`."""
    layer = functools.partial(conv, form=self.form, norm=self.norm, train=train)
    inner = x
    if self.expansion > 1:
      inner = relu6(layer(self.width or self.expansion * x.shape[-1], 1, name="expand")(x))
    channels = inner.shape[-1]
    middle = functools.partial(layer, padding=self.padding, groups=channels, name="depthwise")
    y = relu6(middle(channels, self.size, self.stride)(inner))
    y = layer(self.features, 1, name="project")(y)
    return (x + y if y.shape == x.shape else y), inner


class Norm(NamedTuple):
  """Batch norms that stand apart from their convolutions; `momentum` is of the running statistics."""

  epsilon: float
  momentum: float = 0.9


def conv(
  features: int,
  size: int,
  stride: int = 1,
  *,
  form: str,
  name: str,
  padding: str = "SAME",
  groups: int = 1,
  norm: Norm | None = None,
  train: bool = False,
) -> Callable[[jax.Array], jax.Array]:
  """Returns a convolution, with its batch norm where there is a `norm`; padding as in `MobileNetV2`."""
  zeros = _zeros(padding, size)
  if norm is None:
    return Conv(features, size, stride, zeros, groups=groups, form=form, name=name)
  layer = ConvNorm(features, size, stride, zeros, groups, norm.epsilon, norm.momentum, form=form, name=name)
  return functools.partial(layer, train=train)


def depthwise(
  x: jax.Array,
  size: int,
  stride: int = 1,
  *,
  form: str,
  name: str,
  padding: str = "SAME",
  use_bias: bool = True,
) -> jax.Array:
  """Convolves every channel by itself, as a submodule of the module that calls it."""
  channels, zeros = x.shape[-1], _zeros(padding, size)
  return Conv(channels, size, stride, zeros, groups=channels, use_bias=use_bias, form=form, name=name)(x)


def _zeros(padding: str, size: int) -> str | int:
  return "SAME" if choose("padding", padding, PADDINGS) == "SAME" else size // 2


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


def params_of_torch(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Takes the parameters from a torch state dict of tonylins/pytorch-mobilenet-v2's names, as NumPy arrays.

  Such weights need `padding="symmetric"`.

  Raises:
    ValueError: a tensor that is missing.
  """
  fold = Folded(arrays, TORCH_EPSILON)
  count = sum(repeats for _, _, repeats, _ in GROUPS)
  params: dict[str, Any] = {
    "stem": fold("features.0.0", "features.0.1"),
    "last": fold(f"features.{count + 1}.0", f"features.{count + 1}.1"),
  }
  for i in range(count):
    parts = ("expand", "depthwise", "project") if i else ("depthwise", "project")
    place = f"features.{i + 1}.conv"
    params[f"block_{i}"] = {
      part: fold(f"{place}.{3 * j}", f"{place}.{3 * j + 1}") for j, part in enumerate(parts)
    }
  return params


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
