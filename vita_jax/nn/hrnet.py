"""HRNet (Sun et al., CVPR 2019): branches of four resolutions side by side, which exchange what they see.

`HRNet()` is W32 of the paper, `HRNet(width=48)` W48; with fewer modules, blocks or channels it is a reduced
one. The network and its layers are those of the published code; weights are not included, see
`variables_of_published`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from vita_jax.base.choose import choose
from vita_jax.nn.conv import Conv, form_at
from vita_jax.nn.conv_norm import ConvNorm
from vita_jax.nn.resize import resize
from vita_jax.nn.resnet import Block
from vita_jax.nn.torch_weights import Unfolded, channels_last, tensor

STARTS = ("published", "he")
HEAD_DEVIATION = 1e-3
STRIDE = 4  # pixels for each place of the heat maps


def kernel_start(start: str) -> Callable[..., jax.Array]:
  """Returns the initializer of kernels: "published": N(0, 0.001); "he": He's normal one, of the outputs.

  Raises:
    ValueError: another name.
  """
  if choose("start", start, STARTS) == "published":
    return nn.initializers.normal(HEAD_DEVIATION)
  return nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def head(keypoints: int, *, form: str, name: str = "head") -> Conv:
  """Returns the last layer, a 1x1 convolution drawn from N(0, 0.001) with bias 0: maps start near 0.

  Drawn as usual, networks hardly learn within the first few hundred steps.
  """
  start = nn.initializers.normal(HEAD_DEVIATION)
  return Conv(keypoints, 1, kernel_init=start, bias_init=nn.initializers.zeros, form=form, name=name)


class HRNet(nn.Module):
  """Images [n, h, w, 3], see `vita_jax.nn.resnet.preprocessed` -> heat maps [n, h / 4, w / 4, keypoints].

  h and w are multiples of 32 (of 4 times 2 to the number of stages). Stage s has s + 1 branches; branch b has
  width 2^b channels at stride 4 2^b.

  Attributes:
    keypoints: channels of the heat maps.
    width: channels of the first branch.
    modules: how many modules each stage has, of the stages with 2, 3, 4 branches.
    blocks: residual blocks of each branch in a module.
    bottlenecks: of the first stage, before there are branches.
    stem: channels of the two convolutions at the entry; the bottlenecks have 4 times as many.
    start: how kernels are drawn, see `kernel_start`.
    form: where the convolutions stand, see `vita_jax.nn.conv`.

  Examples:
    >>> image = jax.ShapeDtypeStruct((1, 256, 192, 3), "float32")
    >>> maps, variables = jax.eval_shape(HRNet(form="native").init_with_output, jax.random.key(0), image)
    >>> maps.shape, sum(x.size for x in jax.tree.leaves(variables["params"]))
    ((1, 64, 48, 17), 28536113)
  """

  keypoints: int = 17
  width: int = 32
  modules: Sequence[int] = (1, 4, 3)
  blocks: int = 4
  bottlenecks: int = 4
  stem: int = 64
  start: str = "published"
  form: str = "loop"

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
    """`train`: the batch norms take the statistics of the batch, and the running ones move."""
    least = STRIDE * 2 ** len(self.modules)
    if images.shape[1] % least or images.shape[2] % least:
      raise ValueError(f"images are {images.shape[1]} x {images.shape[2]}: both must be multiples of {least}")
    x = images
    for i in (1, 2):
      x = jax.nn.relu(self._layer(x, self.stem, 3, 2, f"stem{i}", train))
    draw = kernel_start(self.start)
    for i in range(self.bottlenecks):
      x = Block(self.stem, 4, 1, kernel_init=draw, form=self.form, name=f"layer1_{i}")(x, train=train)
    branches = [x]
    for stage, count in enumerate(self.modules, start=2):
      branches = self._transition(branches, stage, train)
      for i in range(count):
        outputs = 1 if stage == len(self.modules) + 1 and i == count - 1 else None
        module = Module(self.width, self.blocks, outputs, self.start, self.form, name=f"stage{stage}_{i}")
        branches = module(branches, train=train)
    return head(self.keypoints, form=self.form)(branches[0])

  def _transition(self, branches: list[jax.Array], stage: int, train: bool) -> list[jax.Array]:
    """Adds a branch of half the resolution of the last one, and makes the channels those of the branches."""
    found = []
    for b in range(len(branches) + 1):
      features, new = self.width * 2**b, b == len(branches)
      x = branches[-1] if new else branches[b]
      if new or x.shape[-1] != features:
        x = jax.nn.relu(self._layer(x, features, 3, 2 if new else 1, f"transition{stage}_{b}", train))
      found.append(x)
    return found

  def _layer(self, x: jax.Array, features: int, size: int, stride: int, name: str, train: bool) -> jax.Array:
    form = form_at(self.form, *(n // stride for n in x.shape[1:3]))
    draw = kernel_start(self.start)
    layer = ConvNorm(features, size, stride, size // 2, kernel_init=draw, form=form, name=name)
    return layer(x, train=train)


class Module(nn.Module):
  """Residual blocks in each branch, then the fusion: branches [n, h / 2^b, w / 2^b, width 2^b] -> the same.

  Attributes:
    width: channels of the first branch.
    blocks: residual blocks (two 3x3 convolutions) of each branch.
    outputs: how many branches come out; None: all.
    start: see `HRNet`.
    form: see `HRNet`.
  """

  width: int
  blocks: int = 4
  outputs: int | None = None
  start: str = "published"
  form: str = "loop"

  @nn.compact
  def __call__(self, branches: Sequence[jax.Array], *, train: bool = False) -> list[jax.Array]:
    draw, found = kernel_start(self.start), []
    for b, x in enumerate(branches):
      for i in range(self.blocks):
        form = form_at(self.form, *x.shape[1:3])
        block = Block(self.width * 2**b, 1, 1, kernel_init=draw, form=form, name=f"branch{b}_{i}")
        x = block(x, train=train)
      found.append(x)
    return Fusion(self.width, self.outputs, self.start, self.form, name="fusion")(found, train=train)


class Fusion(nn.Module):
  """Every branch plus what the others send, then ReLU: z_b = relu(sum over a of T_ab(y_a)).

  T is the identity for a = b; from a coarser branch a 1x1 convolution and a nearest upsampling; from a finer
  one b - a convolutions 3x3 of stride 2, of which the last one changes the channels and has no ReLU. Each
  convolution has a batch norm.

  Attributes:
    width, start, form: see `HRNet`.
    outputs: how many branches come out; None: all.
  """

  width: int
  outputs: int | None = None
  start: str = "published"
  form: str = "loop"

  @nn.compact
  def __call__(self, branches: Sequence[jax.Array], *, train: bool = False) -> list[jax.Array]:
    found = []
    for b in range(len(branches) if self.outputs is None else self.outputs):
      total: Any = 0.0
      for a, x in enumerate(branches):
        total = total + self._sent(x, a, b, branches[b].shape[1:3], train)
      found.append(jax.nn.relu(total))
    return found

  def _sent(self, x: jax.Array, a: int, b: int, size: tuple[int, ...], train: bool) -> jax.Array:
    if a > b:
      x = self._layer(x, self.width * 2**b, 1, 1, f"up{a}_{b}", train)
      return resize(x, (size[0], size[1]), method="nearest")
    for step in range(b - a):
      last = step == b - a - 1
      x = self._layer(x, self.width * 2 ** (b if last else a), 3, 2, f"down{a}_{b}_{step}", train)
      x = x if last else jax.nn.relu(x)
    return x

  def _layer(self, x: jax.Array, features: int, size: int, stride: int, name: str, train: bool) -> jax.Array:
    form = form_at(self.form, *(n // stride for n in x.shape[1:3]))
    draw = kernel_start(self.start)
    layer = ConvNorm(features, size, stride, size // 2, kernel_init=draw, form=form, name=name)
    return layer(x, train=train)


def variables_of_published(
  arrays: Mapping[str, np.ndarray],
  *,
  modules: Sequence[int] = (1, 4, 3),
  blocks: int = 4,
  bottlenecks: int = 4,
) -> dict[str, Any]:
  """Takes the variables {"params": ..., "batch_stats": ...}, float32, from the published names and layouts.

  The names are from memory, since no published file was at hand: one that differs is refused by name.

  Args:
    arrays: the state dict: name -> array.
    modules: see `HRNet`.
    blocks: see `HRNet`.
    bottlenecks: see `HRNet`.

  Raises:
    ValueError: a tensor that is missing: of another network.
  """
  layers = {f"stem{i}": (f"conv{i}", f"bn{i}") for i in (1, 2)}
  for i in range(bottlenecks):
    layers |= _block_names(f"layer1_{i}", f"layer1.{i}", 3)
    if f"layer1.{i}.downsample.0.weight" in arrays:
      layers[f"layer1_{i}/downsample"] = (f"layer1.{i}.downsample.0", f"layer1.{i}.downsample.1")
  for stage, count in enumerate(modules, start=2):
    for b in range(stage):
      theirs = f"transition{stage - 1}.{b}" + (".0" if b == stage - 1 else "")
      if f"{theirs}.0.weight" in arrays:  # others are the identity
        layers[f"transition{stage}_{b}"] = (f"{theirs}.0", f"{theirs}.1")
    for i in range(count):
      last = stage == len(modules) + 1 and i == count - 1
      layers |= _module_names(f"stage{stage}_{i}", f"stage{stage}.{i}", stage, 1 if last else stage, blocks)
  found = Unfolded(arrays).variables(layers)
  return {**found, "params": {**found["params"], "head": published_head(arrays)}}


def published_head(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Takes the last layer of the published pose networks: {"kernel": ..., "bias": ...}, float32.

  Raises:
    ValueError: a tensor that is missing.
  """
  kernel = channels_last(tensor(arrays, "final_layer.weight"))
  bias = tensor(arrays, "final_layer.bias")
  return {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}


def _block_names(ours: str, theirs: str, count: int) -> dict[str, tuple[str, str]]:
  """The convolutions of a residual block."""
  return {f"{ours}/conv{j}": (f"{theirs}.conv{j}", f"{theirs}.bn{j}") for j in range(1, count + 1)}


def _module_names(
  ours: str, theirs: str, branches: int, outputs: int, blocks: int
) -> dict[str, tuple[str, str]]:
  """The convolutions of a module: of its branches, and of its fusion."""
  layers: dict[str, tuple[str, str]] = {}
  for b in range(branches):
    for i in range(blocks):
      layers |= _block_names(f"{ours}/branch{b}_{i}", f"{theirs}.branches.{b}.{i}", 2)
  for b in range(outputs):
    for a in range(branches):
      fuse = f"{theirs}.fuse_layers.{b}.{a}"
      if a > b:
        layers[f"{ours}/fusion/up{a}_{b}"] = (f"{fuse}.0", f"{fuse}.1")
      for k in range(b - a):
        layers[f"{ours}/fusion/down{a}_{b}_{k}"] = (f"{fuse}.{k}.0", f"{fuse}.{k}.1")
  return layers
