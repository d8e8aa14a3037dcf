"""A 3-D network for brain volumes: one branch per region, one logit per row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.nn.conv import convolve
from vita_jax.nn.norm import BatchNorm
from vita_jax.nn.pool import max_pool_padded

xavier_uniform = nn.initializers.xavier_uniform()


class Branch(nn.Module):
  """One region of a volume: x [n, d, d, d, 1] -> [n, d/4 rounded up (three times), 32]; 14,400 parameters."""

  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, train: bool, mask: jax.Array | None) -> jax.Array:
    h = x.astype(self.dtype)
    for i, width in enumerate((16, 32)):
      kernel = self.param(f"conv_{i}_kernel", xavier_uniform, (3, 3, 3, h.shape[-1], width))
      bias = self.param(f"conv_{i}_bias", nn.initializers.zeros, (width,))
      h = convolve(h, kernel.astype(self.dtype), padding=1) + bias.astype(self.dtype)
      h = max_pool_padded(nn.relu(BatchNorm()(h, train=train, mask=mask)))
    return h


class ThreeBranchCNN(nn.Module):
  """A branch each for the whole brain and the two hippocampi, joined by a dense layer of 256, one logit.

  x: {"brain" [n, 50, 50, 50], "left", "right" [n, 30, 30, 30]}. 26,430,657 parameters (the paper's for ADNI).
  """

  hidden: int = 256
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Mapping[str, jax.Array], *, train: bool, mask: jax.Array | None = None) -> jax.Array:
    # A branch holds 8 MB of activations per volume and layer: it is computed again in the backward pass.
    branch = nn.remat(Branch, static_argnums=(2,))
    parts = [
      branch(self.dtype, name=name)(x[name][..., None], train, mask) for name in ("brain", "left", "right")
    ]
    h = jnp.concatenate([part.reshape(part.shape[0], -1) for part in parts], axis=-1)
    h = nn.Dense(self.hidden, kernel_init=xavier_uniform, dtype=self.dtype)(h)
    h = nn.relu(BatchNorm()(h, train=train, mask=mask))
    logit = nn.Dense(1, kernel_init=xavier_uniform, dtype=self.dtype)(h)[:, 0]
    return logit.astype(jnp.promote_types(self.dtype, jnp.float32))
