"""Networks that turn images into images, and their judge: ResNet generators and the patch discriminator.

All take images [n, h, w, 3] in [-1, 1]. A generator is described by its widths; `layers` is its table
(`vita_jax.nn.layers`), `channel_graph` says what is cut when channels go, and `resized` gives the smaller
one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.base.choose import choose, hint
from vita_jax.nn.channels import Graph, graph_of
from vita_jax.nn.layers import PICTURE, Layer, run
from vita_jax.nn.quantize import Quant

OUTPUTS = ("tanh", "residual")


class ResnetWidths(NamedTuple):
  """Channels of a `ResnetGenerator`.

  Attributes:
    stem: after the 7x7 convolution.
    down: after each convolution that halves the image; the last is the residual stream's.
    blocks: inside each residual block; a block with 0 is the identity, and has no parameters.
    up: after each transposed convolution that doubles the image.
  """

  stem: int = 64
  down: tuple[int, ...] = (128, 256)
  blocks: tuple[int, ...] = (256,) * 9
  up: tuple[int, ...] = (128, 64)


def resnet_widths(base: int = 64, blocks: int = 9) -> ResnetWidths:
  """Returns the widths of the CycleGAN generator: base, 2 * base, 4 * base in the blocks, and back.

  Examples:
    >>> resnet_widths(24, 2)
    ResnetWidths(stem=24, down=(48, 96), blocks=(96, 96), up=(48, 24))
  """
  return ResnetWidths(base, (2 * base, 4 * base), (4 * base,) * blocks, (2 * base, base))


class ResnetGenerator(nn.Module):
  """The CycleGAN generator (Zhu et al., ICCV 2017, after Johnson et al., ECCV 2016): images to images.

  Each layer is a convolution, instance norm and ReLU. Norms that feed the residual stream have no scale and
  shift, the others have both: there channels can be pruned. Parameters are `<layer>/kernel`, `/bias`,
  `/scale` and `/shift` of the layers stem, down_0, down_1, block_0_a, block_0_b, ..., up_0, up_1, head.

  Attributes:
    widths: channels; the default has 11,383,555 parameters.
    images: channels of the images.
    output: "tanh": of the last convolution, as published; "residual": it is added to the picture and
      the sum clipped to [-1, 1], for tasks that keep most of it: instance norm, which removes each
      picture's brightness and contrast, then need not restore them.
    stream_gate: adds the parameter `stream_scale`, one scale that all layers which feed the stream share: the
      gamma of the stream's channels.
    quant, form, dtype, remat: see `vita_jax.nn.layers`.

  Examples:
    >>> generator = ResnetGenerator(resnet_widths(4, 2))
    >>> images = jnp.zeros((2, 32, 24, 3))
    >>> y, variables = jax.eval_shape(generator.init_with_output, jax.random.key(0), images)
    >>> y.shape, sorted(variables["params"]["stem"])
    ((2, 32, 24, 3), ['bias', 'kernel', 'scale', 'shift'])
    >>> [group.name for group in generator.channel_graph()]
    ['stem', 'down_0', 'block_0_a', 'block_1_a', 'up_0', 'up_1']
  """

  widths: ResnetWidths = ResnetWidths()
  images: int = 3
  output: str = "tanh"
  stream_gate: bool = False
  quant: Quant | None = None
  form: str = "loop"
  dtype: Any = None
  remat: bool = False

  @property
  def layers(self) -> tuple[Layer, ...]:
    """The table.

    Raises:
      ValueError: not as many widths up as down, none, or one below 1 (of a block below 0).
    """
    widths = self.widths
    _check_widths(widths.stem, widths.down, widths.blocks, widths.up)
    gate = "stream" if self.stream_gate else ""
    layers, channels, last = [_stem(self.images, widths.stem)], widths.stem, len(widths.down) - 1
    for i, width in enumerate(widths.down):
      layer = Layer(f"down_{i}", channels, width, 3, 2, 1, norm="affine", activation="relu", signed=False)
      layers.append(layer._replace(norm="plain", gate=gate) if i == last else layer)
      channels = width
    layers += _blocks(layers[-1], widths.blocks, norms=("affine", "plain"), gate=gate)
    for i, width in enumerate(widths.up):
      up = Layer(f"up_{i}", channels, width, 3, 2, 1, transposed=True, norm="affine", activation="relu")
      layers.append(up._replace(signed=i == 0 and bool(widths.blocks)))
      channels = width
    return (*layers, _head(channels, self.images, self.output))

  @nn.compact
  def __call__(self, images: jax.Array) -> jax.Array:
    """images [n, h, w, c], h and w multiples of 2^len(widths.down) -> the same shape, in [-1, 1]."""
    _check_size(images, 2 ** len(self.widths.down))
    gates = {}
    if self.stream_gate:
      gates["stream"] = self.param("stream_scale", nn.initializers.ones, (self.widths.down[-1],))
    return run(
      self.layers, images, quant=self.quant, form=self.form, dtype=self.dtype, gates=gates, remat=self.remat
    )

  def channel_graph(self, *, stream: bool = False, ungated: bool = False) -> Graph:
    """Lists the groups of channels; `stream` and `ungated` as in `vita_jax.nn.channels.graph_of`."""
    return graph_of(self.layers, stream=stream, ungated=ungated)

  def resized(self, counts: Mapping[str, int]) -> ResnetGenerator:
    """Returns the generator with other numbers of channels, by the names of the groups."""
    widths = self.widths
    names = ["stem", *_numbered("down_{}", widths.down), *_numbered("block_{}_a", widths.blocks)]
    _check_names(counts, [*names, *_numbered("up_{}", widths.up)])
    return self.clone(
      widths=ResnetWidths(
        counts.get("stem", widths.stem),
        _recounted("down_{}", widths.down, counts),
        _recounted("block_{}_a", widths.blocks, counts),
        _recounted("up_{}", widths.up, counts),
      )
    )


class CartoonWidths(NamedTuple):
  """Channels of a `CartoonGenerator`.

  Attributes:
    stem: after the 7x7 convolution.
    down: for each halving, after the convolution with stride 2 and after the one that follows it.
    blocks: inside each residual block; 0: the block is the identity.
    up: for each doubling, after the transposed convolution and after the one that follows it.
  """

  stem: int = 64
  down: tuple[tuple[int, int], ...] = ((128, 128), (256, 256))
  blocks: tuple[int, ...] = (256,) * 8
  up: tuple[tuple[int, int], ...] = ((128, 128), (64, 64))


def cartoon_widths(base: int = 64, blocks: int = 8) -> CartoonWidths:
  """Returns the widths of the CartoonGAN generator.

  Examples:
    >>> cartoon_widths(4, 1)
    CartoonWidths(stem=4, down=((8, 8), (16, 16)), blocks=(16,), up=((8, 8), (4, 4)))
  """
  a, b, c = base, 2 * base, 4 * base
  return CartoonWidths(a, ((b, b), (c, c)), (c,) * blocks, ((b, b), (a, a)))


class CartoonGenerator(nn.Module):
  """The CartoonGAN generator (Chen et al., CVPR 2018): images to images.

  Convolutions that change the size have no norm and no activation; an ordinary one with both follows each.
  All norms are affine (epsilon 1e-9). The layers are stem, down_0_a, down_0_b, ..., block_0_a, block_0_b,
  ..., up_0_a, up_0_b, ..., head.

  Attributes:
    widths: channels; the default has 11,129,667 parameters.
    images, output, quant, form, dtype, remat: as of `ResnetGenerator`.

  Examples:
    >>> [group.name for group in CartoonGenerator(cartoon_widths(4, 1)).channel_graph()]
    ['stem', 'down_0_b', 'block_0_a', 'up_0_b', 'up_1_b']
  """

  widths: CartoonWidths = CartoonWidths()
  images: int = 3
  output: str = "tanh"
  quant: Quant | None = None
  form: str = "loop"
  dtype: Any = None
  remat: bool = False

  @property
  def layers(self) -> tuple[Layer, ...]:
    """The table; see `ResnetGenerator.layers`."""
    widths = self.widths
    flat = [[n for pair in pairs for n in pair] for pairs in (widths.down, widths.up)]
    _check_widths(widths.stem, flat[0], widths.blocks, flat[1])
    layers, channels = [_stem(self.images, widths.stem)], widths.stem
    for i, (a, b) in enumerate(widths.down):
      layers.append(Layer(f"down_{i}_a", channels, a, 3, 2, 1, signed=False))
      layers.append(_follows(f"down_{i}_b", a, b))
      channels = b
    layers += _blocks(layers[-1], widths.blocks, norms=("affine", "affine"))
    for i, (a, b) in enumerate(widths.up):
      signed = i == 0 and bool(widths.blocks)
      layers.append(Layer(f"up_{i}_a", channels, a, 3, 2, 1, transposed=True, signed=signed))
      layers.append(_follows(f"up_{i}_b", a, b))
      channels = b
    layers.append(_head(channels, self.images, self.output))
    return tuple(layer._replace(epsilon=1e-9) for layer in layers)

  @nn.compact
  def __call__(self, images: jax.Array) -> jax.Array:
    """images [n, h, w, c], h and w multiples of 2^len(widths.down) -> the same shape, in [-1, 1]."""
    _check_size(images, 2 ** len(self.widths.down))
    return run(self.layers, images, quant=self.quant, form=self.form, dtype=self.dtype, remat=self.remat)

  def channel_graph(self, *, stream: bool = False, ungated: bool = False) -> Graph:
    """Lists the groups of channels; `stream` and `ungated` as in `vita_jax.nn.channels.graph_of`."""
    return graph_of(self.layers, stream=stream, ungated=ungated)

  def resized(self, counts: Mapping[str, int]) -> CartoonGenerator:
    """Returns the generator with other numbers of channels, by the names of the groups."""
    widths = self.widths
    pairs = {"down": widths.down, "up": widths.up}
    names = [f"{kind}_{i}_{part}" for kind, all_ in pairs.items() for i in range(len(all_)) for part in "ab"]
    _check_names(counts, ["stem", *names, *_numbered("block_{}_a", widths.blocks)])

    def recounted(kind: str) -> tuple[tuple[int, int], ...]:
      return tuple(
        (counts.get(f"{kind}_{i}_a", a), counts.get(f"{kind}_{i}_b", b))
        for i, (a, b) in enumerate(pairs[kind])
      )

    return self.clone(
      widths=CartoonWidths(
        counts.get("stem", widths.stem),
        recounted("down"),
        _recounted("block_{}_a", widths.blocks, counts),
        recounted("up"),
      )
    )


class PatchDiscriminator(nn.Module):
  """The 70x70 patch discriminator (Isola et al., CVPR 2017): images [n, h, w, 3] -> map [n, h', w', 1].

  Attributes:
    width: channels of the first layer; the default has 2,766,529 parameters.
    depth: layers that halve the image.
    images: channels of the images.
    form, dtype, remat: see `vita_jax.nn.layers`.

  Examples:
    >>> images = jnp.zeros((2, 32, 32, 3))
    >>> patches, _ = jax.eval_shape(PatchDiscriminator().init_with_output, jax.random.key(0), images)
    >>> patches.shape, jax.eval_shape(score, patches).shape
    ((2, 2, 2, 1), (2,))
  """

  width: int = 64
  depth: int = 3
  images: int = 3
  form: str = "loop"
  dtype: Any = None
  remat: bool = False

  @property
  def layers(self) -> tuple[Layer, ...]:
    """The table: 4x4 convolutions, the last two with stride 1."""
    widths = [self.images, *(self.width * min(2**i, 8) for i in range(self.depth + 1)), 1]
    return tuple(
      Layer(
        f"conv_{i}",
        widths[i],
        widths[i + 1],
        4,
        2 if i < self.depth else 1,
        1,
        norm="affine" if 0 < i <= self.depth else "none",
        activation="leaky_relu" if i <= self.depth else "none",
      )
      for i in range(self.depth + 2)
    )

  @nn.compact
  def __call__(self, images: jax.Array) -> jax.Array:
    return run(self.layers, images, form=self.form, dtype=self.dtype, remat=self.remat)


def score(patches: jax.Array) -> jax.Array:
  """Computes one number for each image, the mean of its map: [n, h, w, 1] -> float32 [n]."""
  return jnp.mean(patches.astype(jnp.float32), axis=(1, 2, 3))


def _stem(images: int, width: int) -> Layer:
  return Layer("stem", images, width, 7, 1, 3, reflect=True, norm="affine", activation="relu")


def _head(channels: int, images: int, output: str) -> Layer:
  layer = Layer("head", channels, images, 7, 1, 3, reflect=True, signed=False)
  if choose("output", output, OUTPUTS) == "residual":
    return layer._replace(add=PICTURE, clipped=True)
  return layer._replace(activation="tanh")


def _follows(name: str, inputs: int, features: int) -> Layer:
  """The convolution after one without norm and activation, whose outputs have both signs."""
  return Layer(name, inputs, features, 3, 1, 1, norm="affine", activation="relu", signed=True)


def _blocks(before: Layer, widths: Sequence[int], *, norms: tuple[str, str], gate: str = "") -> list[Layer]:
  """Residual blocks; only the first one's input is never negative: it follows a ReLU, the others a sum."""
  layers, source, stream = [], before.name, before.features
  for i, width in enumerate(widths):
    if width == 0:
      continue
    a = Layer(f"block_{i}_a", stream, width, 3, 1, 1, reflect=True, norm=norms[0], activation="relu")
    b = Layer(f"block_{i}_b", width, stream, 3, 1, 1, reflect=True, norm=norms[1], gate=gate, add=source)
    layers += [a._replace(signed=i > 0), b._replace(signed=False)]
    source = b.name
  return layers


def _check_widths(stem: int, down: Sequence[int], blocks: Sequence[int], up: Sequence[int]) -> None:
  if len(down) != len(up) or not down:
    raise ValueError(f"widths have {len(down)} layers down and {len(up)} up: give as many, at least one")
  if min(stem, *down, *up) < 1 or min(blocks, default=0) < 0:
    raise ValueError("widths must be at least 1, those of blocks at least 0")


def _check_size(images: jax.Array, factor: int) -> None:
  if images.ndim != 4 or images.shape[1] % factor or images.shape[2] % factor:
    raise ValueError(
      f"images are {images.shape}: they must be [n, h, w, channels], h and w multiples of {factor}"
    )


def _check_names(counts: Mapping[str, int], names: Sequence[str]) -> None:
  for name in counts:
    if name not in names:
      raise ValueError(f"the generator has no channels '{name}'{hint(name, names)}")


def _numbered(name: str, widths: Sequence[int]) -> list[str]:
  return [name.format(i) for i in range(len(widths))]


def _recounted(name: str, widths: Sequence[int], counts: Mapping[str, int]) -> tuple[int, ...]:
  return tuple(counts.get(name.format(i), n) for i, n in enumerate(widths))
