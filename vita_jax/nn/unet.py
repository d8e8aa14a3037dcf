"""The U-Net of pix2pix (Isola et al., CVPR 2017): maps in, maps of the same size out."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.nn.conv import Conv, ConvTranspose, form_at
from vita_jax.nn.dropout import dropout
from vita_jax.nn.norm import InstanceNorm

DRAW = nn.initializers.normal(0.02)


class UNet(nn.Module):
  """x [n, h, w, c] -> [n, h, w, features] in [-1, 1]; h and w are multiples of 2^depth.

  4x4 convolutions halve the maps `depth` times (LeakyReLU 0.2), transposed ones double them again (ReLU), and
  each level's maps are joined to those on the way up. Norms but at both ends and at the bottom. With 3
  channels in and out the default, for 256 x 256, has 54,413,955 parameters.

  Each picture is normalised by its own statistics, in training and later alike. That is pix2pix's batch norm,
  which takes the statistics of the pictures at hand in drawing, too, at its batch of 1. Running statistics do
  not do here: the lowest level that has a norm is of 2 x 2 places, so that those of a small batch vary.

  Attributes:
    features: channels of the output.
    width: of the first level; each further one has twice as many, 8 width at most.
    depth: levels.
    rate: of the dropout on the way up, on all but the outermost four levels and the bottom, in training (rng
      "dropout").
    form, dtype: see `vita_jax.nn.conv`; norms compute in float32.

  Examples:
    >>> net = UNet(3, width=4, depth=3)
    >>> y, _ = jax.eval_shape(net.init_with_output, jax.random.key(0), jnp.zeros((2, 16, 16, 5)))
    >>> y.shape
    (2, 16, 16, 3)
  """

  features: int
  width: int = 64
  depth: int = 8
  rate: float = 0.5
  form: str = "loop"
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
    """`train`: with dropout.

    Raises:
      ValueError: a side that cannot be halved so often.
    """
    least = 2**self.depth
    if x.shape[1] % least or x.shape[2] % least:
      raise ValueError(f"maps are {x.shape[1]} x {x.shape[2]}: both must be multiples of {least}")
    dtype = self.dtype or x.dtype
    x, levels = x.astype(dtype), []
    for i in range(self.depth):
      width = self.width * min(2**i, 8)
      form = form_at(self.form, x.shape[1] // 2, x.shape[2] // 2)
      options: dict[str, Any] = {"use_bias": False, "kernel_init": DRAW, "form": form}
      x = x if i == 0 else jax.nn.leaky_relu(x, 0.2)
      x = Conv(width, 4, 2, 1, name=f"down_{i}", **options)(x)
      if 0 < i < self.depth - 1:
        x = InstanceNorm(affine=True, name=f"down_{i}_norm")(x)
      levels.append(x)
    for i in reversed(range(self.depth)):
      last = i == 0
      width = self.features if last else self.width * min(2 ** (i - 1), 8)
      form = form_at(self.form, 2 * x.shape[1], 2 * x.shape[2])
      options = {"use_bias": last, "bias_init": nn.initializers.zeros, "kernel_init": DRAW, "form": form}
      x = ConvTranspose(width, 4, 2, 1, name=f"up_{i}", **options)(jax.nn.relu(x))
      if last:
        break
      x = InstanceNorm(affine=True, name=f"up_{i}_norm")(x)
      if 4 <= i < self.depth - 1 and train and self.rate:
        x = dropout(self.make_rng("dropout"), x, self.rate)
      x = jnp.concatenate([levels[i - 1], x], axis=-1)
    return jnp.tanh(x.astype(jnp.promote_types(dtype, jnp.float32)))
