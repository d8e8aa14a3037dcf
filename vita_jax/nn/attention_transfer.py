"""Generators that turn a picture of somebody into one of the same somebody in another pose, and their judge.

Several streams run side by side: the picture's, and one for each guide (heat maps, depth, ...). Cascaded
blocks let the guides gate what changes in the picture's stream. With one guide it is pose-attentional
transfer (Zhu et al., CVPR 2019), with two MM-Hand's (Wu et al., ACM MM 2020). Layers have torch's padding:
strided ones one zero at both ends, the others mirror the border.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.base.choose import choose
from vita_jax.nn.conv import Conv, ConvTranspose, reflect
from vita_jax.nn.conv_norm import ConvNorm
from vita_jax.nn.dropout import dropout
from vita_jax.nn.norm import BatchNorm

FUSIONS = ("attention", "concat")
HEADS = ("none", "patch")
DRAW = nn.initializers.normal(0.02)  # as DCGAN, pix2pix and CycleGAN draw their kernels


class Encoder(nn.Module):
  """x [n, h, w, c] -> [n, h / 4, w / 4, 4 width]: 7x7, then two 3x3 that halve, with batch norms and ReLU.

  Attributes:
    width: channels of the first layer.
    form: where the convolutions stand, see `vita_jax.nn.conv`.
  """

  width: int = 64
  form: str = "loop"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    stem = ConvNorm(self.width, 7, kernel_init=DRAW, form=self.form, name="stem")
    x = jax.nn.relu(stem(reflect(x, 3), train=train))
    for i in range(2):
      width = self.width * 2 ** (i + 1)
      down = ConvNorm(width, 3, 2, 1, kernel_init=DRAW, form=self.form, name=f"down_{i}")
      x = jax.nn.relu(down(x, train=train))
    return x


class Branch(nn.Module):
  """Two mirrored 3x3 convolutions: batch norm, ReLU and dropout between them, a norm after both if asked.

  Attributes:
    features: channels of the second; the first has as many as its input.
    normed: whether the second has a batch norm.
    rate: of the dropout.
    form: where the convolutions stand, see `vita_jax.nn.conv`.
  """

  features: int
  normed: bool = True
  rate: float = 0.5
  form: str = "loop"

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    first = ConvNorm(x.shape[-1], 3, kernel_init=DRAW, form=self.form, name="first")
    x = jax.nn.relu(first(reflect(x, 1), train=train))
    x = reflect(dropout(self.make_rng("dropout") if train and self.rate else None, x, self.rate), 1)
    options: dict[str, Any] = {"kernel_init": DRAW, "form": self.form, "name": "second"}
    if self.normed:
      return ConvNorm(self.features, 3, **options)(x, train=train)
    return Conv(self.features, 3, use_bias=False, **options)(x)


class TransferBlock(nn.Module):
  """One step of the transfer: streams (x, g_1, ..., g_k) -> (y, h_1, ..., h_k).

  With u = C(x) and v_i = C_i(g_i), each a `Branch`: y = x + u sigmoid(v_1) ... sigmoid(v_k), and h_i is v_i
  joined with y, so that from the second block on guides have twice the channels. `swap` hands the guides on
  in reversed order, as MM-Hand's released code does.
  """

  swap: bool = False
  rate: float = 0.5
  form: str = "loop"

  @nn.compact
  def __call__(self, streams: tuple[jax.Array, ...], train: bool) -> tuple[jax.Array, ...]:
    x, *guides = streams
    options: dict[str, Any] = {"rate": self.rate, "form": self.form}
    width = x.shape[-1]
    u = Branch(width, name="picture", **options)(x, train)
    found = [
      Branch(width, normed=False, name=f"guide_{i}", **options)(guide, train)
      for i, guide in enumerate(guides)
    ]
    y = x + functools.reduce(operator.mul, map(jax.nn.sigmoid, found), u)
    joined = [jnp.concatenate([v, y], axis=-1) for v in found]
    return (y, *(reversed(joined) if self.swap else joined))


class _Carried(nn.Module):
  """A `TransferBlock` as `nn.scan` calls it."""

  swap: bool
  rate: float
  form: str
  train: bool

  @nn.compact
  def __call__(self, streams: tuple[jax.Array, ...], _: None) -> tuple[tuple[jax.Array, ...], None]:
    return TransferBlock(self.swap, self.rate, self.form, name="block")(streams, self.train), None


class TransferGenerator(nn.Module):
  """(picture [n, h, w, 3], guides [n, h, w, c_i]) -> picture [n, h, w, 3] in [-1, 1]; h, w multiples of 4.

  An `Encoder` for each stream, blocks, and a decoder of the picture's stream: two transposed convolutions
  with batch norm and ReLU, 7x7, tanh. With guides of 42 and 6 channels the default, MM-Hand's, has 71,272,835
  parameters.

  Attributes:
    width: channels of the first layers; blocks have four times as many.
    blocks: how many, at least one.
    fusion: "attention": `TransferBlock`s. "concat": streams are joined, mixed by 1x1 to 4 width channels and
      go through plain residual blocks, the control without attention.
    swap: see `TransferBlock`.
    rate: of the dropout in blocks, in training (rng "dropout").
    scan: blocks but the first are one compiled block that is scanned, its parameters stacked under "blocks"
      (see `stack_blocks`): of many blocks it compiles sooner.
    remat: compute blocks again in the backward pass, to save memory.
    form, dtype: see `vita_jax.nn.conv`; batch norms compute in float32.

  Examples:
    >>> pictures, heat, depth = (jnp.zeros((2, 32, 32, c)) for c in (3, 42, 6))
    >>> net = TransferGenerator(4, blocks=2)
    >>> y, _ = jax.eval_shape(net.init_with_output, jax.random.key(0), pictures, heat, depth)
    >>> y.shape
    (2, 32, 32, 3)
  """

  width: int = 64
  blocks: int = 9
  fusion: str = "attention"
  swap: bool = False
  rate: float = 0.5
  scan: bool = False
  remat: bool = False
  form: str = "loop"
  dtype: Any = None

  @nn.compact
  def __call__(self, picture: jax.Array, *guides: jax.Array, train: bool = False) -> jax.Array:
    """`train`: statistics of the batch, which move the running ones, and dropout."""
    choose("fusion", self.fusion, FUSIONS)
    if self.blocks < 1 or not guides:
      raise ValueError(f"a transfer needs at least one block and one guide: {self.blocks}, {len(guides)}")
    if picture.shape[1] % 4 or picture.shape[2] % 4:
      raise ValueError(f"pictures are {picture.shape[1:3]}: height and width must be multiples of 4")
    dtype = self.dtype or picture.dtype
    streams = tuple(
      Encoder(self.width, self.form, name=f"encoder_{i}")(x.astype(dtype), train=train)
      for i, x in enumerate((picture, *guides))
    )
    x = self._attended(streams, train) if self.fusion == "attention" else self._joined(streams, train)
    for i in range(2):
      up = ConvTranspose(
        self.width * 2 ** (1 - i),
        3,
        2,
        1,
        output_padding=1,
        use_bias=False,
        kernel_init=DRAW,
        form=self.form,
        name=f"up_{i}",
      )
      x = jax.nn.relu(BatchNorm(name=f"up_{i}_norm")(up(x), train=train))
    head = Conv(3, 7, kernel_init=DRAW, bias_init=nn.initializers.zeros, form=self.form, name="head")
    return jnp.tanh(head(reflect(x, 3)).astype(jnp.promote_types(dtype, jnp.float32)))

  def _attended(self, streams: tuple[jax.Array, ...], train: bool) -> jax.Array:
    block = nn.remat(TransferBlock, static_argnums=2) if self.remat else TransferBlock
    streams = self._block(block, 0)(streams, train)
    if self.scan and self.blocks > 1:
      carried = nn.remat(_Carried, prevent_cse=False) if self.remat else _Carried
      scanned = nn.scan(
        carried,
        variable_axes={"params": 0, "batch_stats": 0},
        split_rngs={"params": True, "dropout": True},
        length=self.blocks - 1,
      )
      form = "loop" if self.form == "top" else self.form  # the library's gradients are slow in loops
      streams, _ = scanned(self.swap, self.rate, form, train, name="blocks")(streams, None)
      return streams[0]
    for i in range(1, self.blocks):
      streams = self._block(block, i)(streams, train)
    return streams[0]

  def _block(self, block: Any, i: int) -> Any:
    return block(self.swap, self.rate, self.form, name=f"block_{i}")

  def _joined(self, streams: tuple[jax.Array, ...], train: bool) -> jax.Array:
    mix = ConvNorm(4 * self.width, 1, kernel_init=DRAW, form=self.form, name="mix")
    x = jax.nn.relu(mix(jnp.concatenate(streams, axis=-1), train=train))
    branch = nn.remat(Branch, static_argnums=2) if self.remat else Branch
    for i in range(self.blocks):
      own = branch(4 * self.width, rate=self.rate, form=self.form, name=f"block_{i}")
      x = x + own(x, train)
    return x


class ResidualDiscriminator(nn.Module):
  """Judges a picture joined with what it should agree with: [n, h, w, c] -> logits, float32 at least.

  An `Encoder` and residual blocks with dropout. MM-Hand's has 3,986,816 parameters for 24 channels and
  3,930,368 for 6.

  Attributes:
    width: channels of the first layer.
    blocks: residual blocks.
    head: "none": the last block's output is the logits [n, h / 4, w / 4, 4 width], as released; they are a
      sum that starts from a ReLU, so their mean is above 0 at first. "patch": 3x3 to one channel.
    rate, form, dtype: as in `TransferGenerator`.

  Examples:
    >>> net = ResidualDiscriminator(4, head="patch")
    >>> y, _ = jax.eval_shape(net.init_with_output, jax.random.key(0), jnp.zeros((2, 32, 32, 24)))
    >>> y.shape
    (2, 8, 8, 1)
  """

  width: int = 64
  blocks: int = 3
  head: str = "none"
  rate: float = 0.5
  form: str = "loop"
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
    x = Encoder(self.width, self.form, name="encoder")(x.astype(self.dtype or x.dtype), train=train)
    for i in range(self.blocks):
      branch = Branch(4 * self.width, rate=self.rate, form=self.form, name=f"block_{i}")
      x = x + branch(x, train)
    if choose("head", self.head, HEADS) == "patch":
      options: dict[str, Any] = {"kernel_init": DRAW, "bias_init": nn.initializers.zeros}
      x = Conv(1, 3, padding=1, form=self.form, name="head", **options)(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def stack_blocks(variables: Mapping[str, Any], blocks: int) -> dict[str, Any]:
  """Turns parameters (or statistics) of unrolled blocks into those of `TransferGenerator(scan=True)`.

  Args:
    variables: one collection, with `block_0` to `block_<blocks - 1>`.
    blocks: how many.

  Examples:
    >>> found = stack_blocks({"block_0": {"a": 1}, "block_1": {"a": jnp.zeros(2)}, "head": 2}, 2)
    >>> found["blocks"]["block"]["a"].shape, found["head"]
    ((1, 2), 2)
  """
  names = [f"block_{i}" for i in range(1, blocks)]
  kept = {name: x for name, x in variables.items() if name not in names}
  if not names:
    return kept
  stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *(variables[name] for name in names))
  return {**kept, "blocks": {"block": stacked}}
