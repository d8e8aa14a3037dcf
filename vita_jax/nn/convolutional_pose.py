"""Convolutional pose machines for hands: estimators on which rendered or generated pictures are tried.

`HPM` and `HPM3D` are those of DGGAN (Chen et al., WACV 2020), as MM-Hand's released code has them: a VGG
trunk and six stages that refine 21 heat maps (Wei et al., CVPR 2016), and a network from maps to depths.
`ColorHandPose3D` is Zimmermann and Brox's (ICCV 2017) without its segmentation: heat maps, a canonical hand,
and the view of it. `width` multiplies all channels, for small machines. `KeypointNet` has four convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.nn.conv import Conv
from vita_jax.nn.pool import max_pool
from vita_jax.nn.resize import resize

JOINTS = 21
STAGES = 6
HPM_TRUNK = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 512, 512, 128)  # 0: pooling
COLOR_TRUNK = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 256, 256, 256, 256, 128)
STRIDE = 8


class Trunk(nn.Module):
  """3x3 convolutions with ReLU: x [n, h, w, c] -> [n, h / 8, w / 8, 128 width].

  Attributes:
    features: of each convolution; 0: maxima over 2 x 2.
    width: multiplies the channels.
    slope: of the ReLU below 0.
    form: where the convolutions stand, see `vita_jax.nn.conv`.
  """

  features: Sequence[int]
  width: float = 1.0
  slope: float = 0.0
  form: str = "loop"

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    for i, features in enumerate(self.features):
      if not features:
        x = max_pool(x, 2)
        continue
      layer = Conv(scaled(features, self.width), 3, padding=1, form=self.form, name=f"conv_{i}")
      x = nn.leaky_relu(layer(x), self.slope)
    return x


class Stage(nn.Module):
  """A stage: convolutions with ReLU between, none at the end: x [n, h, w, c] -> maps [n, h, w, 21].

  The first one is 1x1 512, 1x1 21; later ones five 7x7 128, 1x1 128, 1x1 21.
  """

  first: bool
  width: float = 1.0
  slope: float = 0.0
  form: str = "loop"

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    sizes = ((512, 1),) if self.first else (*((128, 7),) * 5, (128, 1))
    for i, (features, size) in enumerate(sizes):
      layer = Conv(scaled(features, self.width), size, padding=size // 2, form=self.form, name=f"conv_{i}")
      x = nn.leaky_relu(layer(x), self.slope)
    return Conv(JOINTS, 1, form=self.form, name="out")(x)


class HPM(nn.Module):
  """Pictures [n, S, S, 3] -> heat maps of every stage, float32 [6, n, S, S, 21]; S is a multiple of 8.

  They are made at S / 8 and resized (bilinear, corners aligned); the last stage is the answer. It was trained
  by 1000 times the sum over stages of the mean squared error.

  Attributes:
    width: multiplies the channels but the 21; 1 has 36,799,806 weights.
    stages: how many.
    form: see `Trunk`.
  """

  width: float = 1.0
  stages: int = STAGES
  form: str = "loop"

  @nn.compact
  def __call__(self, images: jax.Array) -> jax.Array:
    size = checked_size(images, 3)
    maps = refined(images, HPM_TRUNK, self.stages, self.width, 0.0, self.form)
    return jnp.stack([resize(x, size, align_corners=True) for x in maps])


class HPM3D(nn.Module):
  """Heat maps [n, S, S, 21] -> depths [n, 21]: HPM's trunk, five stages, one of depths, three linear layers.

  The linear layers, 512, 512 and 21, read the 21 maps of S / 8; there is no activation between them. It was
  trained by a smooth L1 loss.

  Attributes:
    width: multiplies the channels, those of the linear layers too; 1 has 48,094,163 weights for S = 256.
    form: see `Trunk`.
  """

  width: float = 1.0
  form: str = "loop"

  @nn.compact
  def __call__(self, maps: jax.Array) -> jax.Array:
    checked_size(maps, JOINTS)
    x = refined(maps, HPM_TRUNK, STAGES, self.width, 0.0, self.form)[-1].reshape(len(maps), -1)
    for i in range(2):
      x = nn.Dense(scaled(512, self.width), name=f"linear_{i}")(x)
    return nn.Dense(JOINTS, name="out")(x)


class Hand3D(NamedTuple):
  """What `ColorHandPose3D` finds.

  Attributes:
    maps: heat maps of each of the three stages, [3, n, S / 8, S / 8, 21].
    canonical: [n, 21, 3], the hand in a frame of its own, in lengths of its reference bone.
    rotation: [n, 3, 3], from that frame to the camera's.
    xyz: [n, 21, 3] = canonical rotation, relative to the wrist.
  """

  maps: jax.Array
  canonical: jax.Array
  rotation: jax.Array
  xyz: jax.Array


class ColorHandPose3D(nn.Module):
  """Crops of hands [n, S, S, 3] and sides [n] (1: right) -> `Hand3D`; S is a multiple of 64.

  PoseNet has a trunk and three stages; PosePrior and ViewPoint are six 3x3 convolutions, every other one of
  stride 2, on its last maps, and linear layers that also read the side. Of a right hand the canonical z is
  mirrored. ReLUs have the slope 0.01 below 0.

  Attributes:
    width: multiplies the channels; 1 has 21,394,529 weights for S = 256.
    form: see `Trunk`.
  """

  width: float = 1.0
  form: str = "loop"

  @nn.compact
  def __call__(self, images: jax.Array, right: jax.Array) -> Hand3D:
    if images.shape[1] % 64 or images.shape[2] % 64:
      raise ValueError(f"pictures are {list(images.shape)}: their sides must be multiples of 64")
    checked_size(images, 3)
    maps = refined(images, COLOR_TRUNK, 3, self.width, 0.01, self.form)
    side = jnp.stack([1.0 - right, right], axis=-1).astype(jnp.float32)
    canonical = Lifting((32, 64, 128), (512, 512), 63, self.width, self.form, name="prior")(maps[-1], side)
    turn = Lifting((64, 128, 256), (256, 128), 3, self.width, self.form, name="view")(maps[-1], side)
    canonical = canonical.reshape(-1, JOINTS, 3)
    mirror = jnp.where(side[:, 1:, None] > 0.5, jnp.array([1.0, 1.0, -1.0]), 1.0)
    rotation = axis_angle_matrix(turn)
    xyz = jnp.einsum("njc,ncd->njd", canonical * mirror, rotation)
    return Hand3D(jnp.stack(maps), canonical, rotation, xyz - xyz[:, :1])


class Lifting(nn.Module):
  """Heat maps [n, h, w, 21] and sides [n, 2] -> numbers [n, outputs].

  Attributes:
    convolutions: features of each pair of convolutions.
    linear: features of the linear layers.
    outputs: how many numbers.
    width, form: as in `Trunk`.
  """

  convolutions: Sequence[int]
  linear: Sequence[int]
  outputs: int
  width: float = 1.0
  form: str = "loop"

  @nn.compact
  def __call__(self, maps: jax.Array, side: jax.Array) -> jax.Array:
    x = maps
    for i, features in enumerate(self.convolutions):
      for stride in (1, 2):
        layer = Conv(
          scaled(features, self.width), 3, stride, 1, form=self.form, name=f"conv_{2 * i + stride - 1}"
        )
        x = nn.leaky_relu(layer(x), 0.01)
    x = jnp.concatenate([x.reshape(len(x), -1), side], axis=1)
    for i, features in enumerate(self.linear):
      x = nn.leaky_relu(nn.Dense(scaled(features, self.width), name=f"linear_{i}")(x), 0.01)
    return nn.Dense(self.outputs, name="out")(x)


class KeypointNet(nn.Module):
  """Pictures [n, S, S, 3] in [0, 1] -> joints [n, 21, 2] in their pixels: four 5x5 convolutions, soft maxima.

  Two of stride 2, two of dilation 2, so that a place sees 77 pixels. A joint is the mean of the places,
  weighted by the softmax of its map (integral regression, Sun et al., ECCV 2018).

  Attributes:
    width: channels of the first layer; the next two have twice as many.
    form: see `Trunk`.
  """

  width: int = 32
  form: str = "loop"

  @nn.compact
  def __call__(self, images: jax.Array) -> jax.Array:
    x = 2.0 * images - 1.0
    layers = ((self.width, 2, 1), (2 * self.width, 2, 1), (2 * self.width, 1, 2))
    for i, (features, stride, dilation) in enumerate(layers):
      layer = Conv(features, 5, stride, 2 * dilation, dilation, form=self.form, name=f"conv_{i}")
      x = nn.relu(layer(x))
    maps = Conv(JOINTS, 5, 1, 4, 2, form=self.form, name="conv_3")(x)
    return soft_places(maps) * 4.0  # the first and the last of a map's places stand on pixels 0 and S - 4


def soft_places(maps: jax.Array) -> jax.Array:
  """Computes the mean place (x, y) of each map [n, h, w, K], weighted by its softmax: [n, K, 2].

  Examples:
    >>> maps = jnp.full((1, 4, 5, 1), -1e9).at[0, 2, 3].set(0.0)
    >>> soft_places(maps).tolist()
    [[[3.0, 2.0]]]
  """
  n, height, width, count = maps.shape
  weights = jax.nn.softmax(maps.reshape(n, height * width, count), axis=1).reshape(maps.shape)
  x = jnp.einsum("nhwk,w->nk", weights, jnp.arange(width, dtype=maps.dtype))
  y = jnp.einsum("nhwk,h->nk", weights, jnp.arange(height, dtype=maps.dtype))
  return jnp.stack([x, y], axis=-1)


def refined(
  x: jax.Array, trunk: Sequence[int], stages: int, width: float, slope: float, form: str
) -> list[jax.Array]:
  """Runs a trunk and the stages on what it finds, as submodules of the module that calls it.

  Returns:
    The maps [n, h / 8, w / 8, 21] of each stage.
  """
  features = Trunk(trunk, width, slope, form, name="trunk")(x)
  maps = [Stage(True, width, slope, form, name="stage_1")(features)]
  for i in range(2, stages + 1):
    maps.append(
      Stage(False, width, slope, form, name=f"stage_{i}")(jnp.concatenate([maps[-1], features], axis=-1))
    )
  return maps


def axis_angle_matrix(turn: jax.Array) -> jax.Array:
  """Computes rotations [n, 3, 3] from axis times angle [n, 3]; the identity for 0."""
  angle = jnp.sqrt(jnp.sum(jnp.square(turn), axis=-1, keepdims=True) + 1e-16)
  x, y, z = jnp.moveaxis(turn / angle, -1, 0)
  zero = jnp.zeros_like(x)
  cross = jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(-1, 3, 3)
  sin, cos = jnp.sin(angle)[..., None], jnp.cos(angle)[..., None]
  return jnp.eye(3) + sin * cross + (1 - cos) * (cross @ cross)


def scaled(features: int, width: float) -> int:
  """Returns `features` times `width`, at least 8."""
  return max(8, round(features * width))


def checked_size(x: jax.Array, channels: int) -> tuple[int, int]:
  """Returns (height, width) of what a network takes.

  Raises:
    ValueError: another number of channels, or sides that are no multiples of 8.
  """
  if x.ndim != 4 or x.shape[-1] != channels or x.shape[1] % STRIDE or x.shape[2] % STRIDE:
    raise ValueError(
      f"it takes [n, h, w, {channels}] with sides that are multiples of {STRIDE}, not {list(x.shape)}"
    )
  return x.shape[1], x.shape[2]
